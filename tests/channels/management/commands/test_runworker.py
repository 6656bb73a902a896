"""``manage.py runworker``: what it refuses, and real processes over the sqlite layer."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.sqlite import SqliteChannelLayer
from channels.management.commands import runworker
from channels.management.commands.runworker import child_command
from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from tests.channels.run_worker import RunWorker
from tests.conftest import wait_until
from tests.end_to_end.processes import ROOT
from workers import Supervisor, Worker

SQLITE = "channel_layer.sqlite.SqliteChannelLayer"


def error_of(*arguments: str, layers: dict[str, Any] | None = None) -> str:
    with override_settings(CHANNEL_LAYERS=layers or {}), pytest.raises(CommandError) as caught:
        call_command("runworker", *arguments, skip_checks=True)
    return str(caught.value)


def on_sqlite(tmp_path: Path, **entry: Any) -> dict[str, Any]:
    config = {"path": str(tmp_path / "layer.sqlite3")}
    return {"default": {"BACKEND": SQLITE, "CONFIG": config, "ROUTING": [], **entry}}


def test_a_layer_of_one_process_is_refused() -> None:
    layers = {"default": {"BACKEND": "asgiref.inmemory.ChannelLayer", "ROUTING": []}}
    text = error_of(layers=layers)
    assert text.startswith("channel layer 'default' (MemoryChannelLayer) reaches no further than one process")
    assert text.endswith("Use the sqlite or redis layer, or manage.py runserver.")


def test_a_project_without_layers_is_refused() -> None:
    assert error_of() == "there is no channel layer 'default': the settings have no CHANNEL_LAYERS"


def test_an_unknown_layer_is_refused(tmp_path: Path) -> None:
    text = error_of("--layer", "mail", layers=on_sqlite(tmp_path))
    assert text == "there is no channel layer 'mail'; CHANNEL_LAYERS has 'default'"


def test_a_route_that_cannot_work_is_named(tmp_path: Path) -> None:
    text = error_of(layers=on_sqlite(tmp_path, ROUTING={"mail": "nowhere.consumer"}))
    assert text.startswith("the ROUTING of channel layer 'default' does not work. route('mail', 'nowhere.consumer')")


def test_globs_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    assert "no channels are left" in error_of("--only-channels", "mail.*", layers=on_sqlite(tmp_path))


@pytest.mark.parametrize("option", ["--threads", "--async-tasks", "--streams", "--processes"])
def test_less_than_one_is_refused(option: str, tmp_path: Path) -> None:
    assert error_of(option, "0", layers=on_sqlite(tmp_path)) == f"{option} must be 1 or more, not 0"


@pytest.mark.parametrize("seconds", ["0", "-1", "nan"])
def test_no_time_to_finish_is_refused(seconds: str, tmp_path: Path) -> None:
    text = error_of(f"--grace={seconds}", layers=on_sqlite(tmp_path))
    assert text == f"--grace must be more than 0 seconds, not {seconds}"


@pytest.mark.parametrize(
    ("option", "what"),
    [
        ("--consumer-timeout", "seconds"),
        ("--max-messages", "messages"),
        ("--max-memory", "MiB"),
        ("--max-age", "seconds"),
    ],
)
def test_a_limit_of_nothing_is_refused(option: str, what: str, tmp_path: Path) -> None:
    text = error_of(option, "0", layers=on_sqlite(tmp_path))
    assert text == f"{option} must be more than 0 {what}, not 0; leave it away for no limit"


def test_less_memory_than_a_worker_starts_with_is_refused(tmp_path: Path) -> None:
    text = error_of("--max-memory", "1", layers=on_sqlite(tmp_path))
    assert text.startswith("--max-memory: 1 MiB is less than the ")


def test_the_code_is_watched_for_one_process_only(tmp_path: Path) -> None:
    text = error_of("--autoreload", "--processes", "2", layers=on_sqlite(tmp_path))
    assert text == "--autoreload runs one process; leave --processes away"


def test_a_layer_that_is_unusable_at_the_start_is_one_sentence_and_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Any] = []

    def check(self: SqliteChannelLayer) -> None:
        raise LayerConfigurationError("the server is too old")

    monkeypatch.setattr(SqliteChannelLayer, "check", check)
    real = SqliteChannelLayer.close
    monkeypatch.setattr(SqliteChannelLayer, "close", lambda self: (closed.append(self), real(self))[1])
    assert error_of(layers=on_sqlite(tmp_path)) == "channel layer 'default': the server is too old"
    assert len(closed) == 1


def test_the_grace_reaches_the_worker_and_the_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    class Recorded(Worker):
        def run(self) -> bool:
            given.append(self.grace)
            return True

    class Supervised(Supervisor):
        def run(self) -> int:
            given.append(self.grace)
            return 0

    monkeypatch.setattr(runworker, "Worker", Recorded)
    monkeypatch.setattr(runworker, "Supervisor", Supervised)
    monkeypatch.setattr(sys, "argv", ["manage.py", "runworker"])
    with override_settings(CHANNEL_LAYERS=on_sqlite(tmp_path)):
        call_command("runworker", skip_checks=True)
        call_command("runworker", "--grace", "2.5", skip_checks=True)
        with pytest.raises(SystemExit) as caught:
            call_command("runworker", "--grace", "4", "--processes", "2", skip_checks=True)
    assert caught.value.code == 0
    assert given == [30.0, 2.5, 4.0]


def test_a_worker_that_left_consumers_behind_ends_with_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "run", lambda self: False)
    with override_settings(CHANNEL_LAYERS=on_sqlite(tmp_path)), pytest.raises(SystemExit) as caught:
        call_command("runworker", skip_checks=True)
    assert caught.value.code == 1


def test_a_worker_that_is_to_be_replaced_says_so_by_its_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[float] = []

    def run(self: Worker) -> bool:
        self.stop_for_another("it is old")
        return True

    monkeypatch.setattr(Worker, "run", run)
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda seconds, **options: ends.append(seconds))
    with override_settings(CHANNEL_LAYERS=on_sqlite(tmp_path)), pytest.raises(SystemExit) as caught:
        call_command("runworker", "--max-age", "9", skip_checks=True)
    assert caught.value.code == 75
    assert ends == [15.0]  # for threads that were left behind


class Listening(Worker):
    """Runs nothing, and keeps what it would listen on."""

    channels_of_last: list[str] = []

    def run(self) -> bool:
        self.channels_of_last[:] = self.channels
        return True


async def anything(scope: Any, receive: Any, send: Any) -> None:
    """An application."""


named = ProtocolTypeRouter({"websocket": anything, "channel": ChannelNameRouter({"mails": anything, "pdfs": anything})})
unnamed = ProtocolTypeRouter({"channel": anything})


@pytest.mark.parametrize(
    ("application", "arguments", "channels"),
    [
        ("named", ["mails"], {"mails"}),
        ("named", ["mails", "pdfs"], {"mails", "pdfs"}),
        ("named", [], {"mails", "pdfs", "websocket.connect", "websocket.resume", "http.request"}),
        ("unnamed", ["whatever"], {"whatever"}),
    ],
)
def test_the_channels_that_are_named_are_those_it_listens_on(
    application: str, arguments: list[str], channels: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runworker, "Worker", Listening)
    setting = f"{__name__}.{application}"
    with override_settings(CHANNEL_LAYERS=on_sqlite(tmp_path), ASGI_APPLICATION=setting):
        call_command("runworker", *arguments, skip_checks=True)
    found = set(Listening.channels_of_last)
    assert found == channels if arguments else found >= channels


def test_a_channel_without_a_consumer_is_refused(tmp_path: Path) -> None:
    with override_settings(ASGI_APPLICATION=f"{__name__}.named"):
        text = error_of("mail", layers=on_sqlite(tmp_path))
    assert text.startswith("nothing is routed to channel 'mail'; there are consumers for ")
    assert "mails, pdfs" in text


def test_child_processes_get_every_option_but_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "runworker", "--processes", "3"])
    options = {
        "channels": ["mails", "pdfs"],
        "layer": "other",
        "threads": 2,
        "async_tasks": 50,
        "streams": 500,
        "instances": 70,
        "idle_minutes": 2.5,
        "grace": 7.5,
        "consumer_timeout": 60.5,
        "max_messages": 1_000_000,
        "max_memory": None,
        "max_age": 86_400.0,
        "only_channels": ["a.*", "b"],
        "exclude_channels": ["c"],
        "settings": "project.settings",
        "verbosity": 2,
        "log_format": "json",
        "no_color": True,
    }
    command = child_command(options)
    assert command[command.index("runworker") :] == [
        "runworker", "mails", "pdfs", "--layer", "other", "--threads", "2", "--async-tasks", "50", "--streams", "500",
        "--instances", "70", "--idle-minutes", "2.5", "--grace", "7.5",
        "--consumer-timeout", "60.5", "--max-messages", "1000000", "--max-age", "86400.0",
        "--only-channels=a.*", "--only-channels=b", "--exclude-channels=c",
        "--settings=project.settings", "--verbosity", "2", "--log-format", "json", "--no-color",
    ]  # fmt: skip


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Callable[..., RunWorker]]:
    """Starts one with these arguments."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(RunWorker(tmp_path, "--verbosity", "2", *arguments))


def test_it_works_until_it_is_told_to_stop(workers: Callable[..., RunWorker]) -> None:
    one = workers()
    wait_until(one.ping, "an answer")
    wait_until(lambda: "ping" in one.text() and " ms  ok" in one.text(), "a line about the message")
    listens = one.text().partition("; it listens on ")[2].splitlines()[0].split(", ")
    assert {"http.request", "ping", "websocket.receive"} <= set(listens)
    one.stop()


def test_worn_out_processes_are_replaced_one_by_one_and_lose_nothing(workers: Callable[..., RunWorker]) -> None:
    one = workers("--processes", "2", "--max-messages", "20")
    wait_until(one.ping, "an answer")
    replies = one.layer.new_channel("test?")
    seen: set[int] = set()
    for _ in range(60):
        one.layer.send("ping", {"reply_channel": replies})
    answers = 0

    def answered() -> bool:
        nonlocal answers
        for name, content in iter(lambda: one.layer.receive([replies]), (None, None)):
            assert name is not None
            assert content is not None
            answers += 1
            seen.add(int(content["process"]))
        return answers == 60

    wait_until(answered, f"60 answers, there are {answers}\n{one.text()}")
    wait_until(lambda: "messages (--max-messages)" in one.text(), "a worn-out process")
    one.stop()


@pytest.mark.slow
def test_a_change_of_the_code_restarts_the_worker(tmp_path: Path) -> None:
    project = tmp_path / "watched.py"
    project.write_text("from tests.channels.settings import *\n")
    one = RunWorker(tmp_path, "--verbosity", "2", "--autoreload")
    one.environment |= {"DJANGO_SETTINGS_MODULE": "watched", "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    with one:
        before = wait_until(one.ping, f"an answer\n{one.text()}")

        def is_another() -> bool:
            now = one.ping()
            if now == before:  # the reloader may not have seen the file yet
                with project.open("a") as code:
                    code.write("CHANGED = True\n")
            return now not in (None, before)

        wait_until(is_another, "an answer of the next process")
        os.killpg(one.running.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
        wait_until(lambda: one.process is not None and one.process.poll() is not None, "the end")


def test_several_processes_share_the_work_and_stop_together(workers: Callable[..., RunWorker]) -> None:
    one = workers("--processes", "2", "--threads", "1")
    seen: set[int] = set()
    deadline = time.monotonic() + 40
    while len(seen) < 2:
        assert time.monotonic() < deadline, f"only {seen} answered"
        answer = one.ping()
        if answer is not None:
            seen.add(answer)
    assert one.running.pid not in seen
    one.stop()
