"""``manage.py millrace`` beside real processes, in a pipe and in a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import connect

from channel_layer.redis import RedisChannelLayer
from tests.channel_layer.redis.conftest import own_servers
from tests.conftest import wait_until
from tests.end_to_end.processes import ROOT, Project

PATIENCE = 60
TOO_LATE = "does not answer within 2 seconds"


@pytest.fixture(scope="module")
def redis_of_module(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture(scope="module")
def project(redis_of_module: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    directory = tmp_path_factory.mktemp("project")
    environment = {"REDIS_URL": redis_of_module, "ENDS": str(directory / "runs")}
    with Project("tests.fixtures.sockets_project", directory, environment, workers=1) as project:
        yield project


@pytest.fixture
def layer(redis_of_module: str) -> Iterator[RedisChannelLayer]:
    layer = RedisChannelLayer(hosts=[redis_of_module])
    yield layer
    layer.close()


def environment(project: Project) -> dict[str, str]:
    return os.environ | project.environment | {"PYTHONWARNINGS": "error", "TERM": "xterm", "COLUMNS": "120"}


def millrace(project: Project, *arguments: str, status: int = 0) -> str:
    """What a subcommand prints: its output, or the sentence with which it fails."""
    command = [*project.manage, "millrace", *arguments]
    for _ in range(10):
        done = subprocess.run(
            command, cwd=ROOT, env=environment(project), capture_output=True, text=True, timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if status == 3 or TOO_LATE not in done.stderr:
            break  # else the machine has stood still for two seconds, and nothing was done
    assert done.returncode == status, done.stdout + done.stderr
    if status:
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
    return done.stderr if status else done.stdout


@contextmanager
def following(project: Project, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A subcommand that goes on, until the end of the block."""
    command = [*project.manage, "millrace", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment(project), stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_request_that_is_flushed_fails_at_once(project: Project, layer: RedisChannelLayer) -> None:
    [reader] = json.loads(millrace(project, "channel", "http.request", "--json"))["listeners"]
    assert reader.startswith("worker worker.")
    project.stop_workers()
    statuses = []

    def request() -> None:
        try:
            urllib.request.urlopen(project.url, timeout=PATIENCE)
        except urllib.error.HTTPError as error:
            with error:
                statuses.append(error.code)

    client = threading.Thread(target=request)
    client.start()
    wait_until(lambda: layer.channel_statistics("http.request")["messages_pending"], "the request to wait")
    assert "no process listens there" in millrace(project, "channel", "http.request", "--peek", "1")
    assert "say it beforehand with --yes" in millrace(project, "flush", "http.request", status=2)
    removed = millrace(project, "flush", "http.request", "--yes")
    assert removed == "1 message removed from http.request; 1 sender told\n"
    client.join(PATIENCE)
    assert statuses == [500]
    project.start_workers()
    project.wait_for_page()


@pytest.mark.slow
def test_what_is_sent_is_followed_until_ctrl_c(project: Project, layer: RedisChannelLayer) -> None:
    lines: list[dict[str, object]] = []
    with following(project, "tail", "nobody.reads", "--json", "--content") as tail:
        reader = threading.Thread(target=lambda: lines.extend(map(json.loads, tail.stdout or ())))
        reader.start()

        def sent_and_shown() -> bool:
            layer.send("nobody.reads", {"text": "x"})  # again and again: it does not say when it begins to look
            return bool(lines)

        wait_until(sent_and_shown, "the message to be shown")
        tail.send_signal(signal.SIGINT)
        assert tail.wait(PATIENCE) == 0
        reader.join(PATIENCE)
    assert lines[0]["content"] == {"text": "x"}
    millrace(project, "flush", "nobody.reads", "--yes")


@pytest.mark.slow
def test_who_stops_reading_ends_it_without_a_complaint(project: Project) -> None:
    with following(project, "top", "--json") as top:
        assert top.stdout is not None
        assert top.stderr is not None
        found = json.loads(top.stdout.readline())
        assert {process["kind"] for process in found["processes"]} == {"web", "worker"}
        top.stdout.close()
        assert top.wait(PATIENCE) == 0
        assert top.stderr.read() == ""


@pytest.mark.slow
def test_in_a_terminal_top_is_live_until_q(project: Project) -> None:
    terminal, other_end = os.openpty()
    top = subprocess.Popen(
        [*project.manage, "millrace", "top"],
        cwd=ROOT, env=environment(project), stdin=other_end, stdout=other_end, stderr=other_end,
    )  # fmt: skip
    os.close(other_end)
    shown = b""
    while b"turns/s" not in shown:  # of the second look
        shown += os.read(terminal, 65536)
    os.write(terminal, b"q")
    try:
        while data := os.read(terminal, 65536):
            shown += data
    except OSError:  # it has closed its end
        pass
    assert top.wait(PATIENCE) == 0
    os.close(terminal)
    assert b"worker." in shown
    assert shown.index(b"\x1b[?1049h") < shown.rindex(b"\x1b[?1049l")


@pytest.mark.slow
def test_mistakes_are_one_sentence_each(project: Project) -> None:
    assert "top is for a terminal" in millrace(project, "top", status=2)
    assert "not JSON" in millrace(project, "send", "mail", "{", status=2)
    assert "nobody is known to read" in millrace(project, "send", "daphne.gone!x", "{}", status=1)
    assert "invalid group name" in millrace(project, "groups", "a b", status=2)


@pytest.mark.slow
def test_a_server_that_accepts_and_says_nothing_is_away(project: Project, redis_server: str, tmp_path: Path) -> None:
    with own_servers(redis_server, tmp_path, 1) as [server]:
        server.freeze()
        project_there = Project("tests.fixtures.sockets_project", tmp_path, {"REDIS_URL": server.url}, workers=0)
        for arguments in (["groups"], ["channel", "mail"], ["flush", "mail", "--yes"], ["connections"]):
            assert TOO_LATE in millrace(project_there, *arguments, status=3)
        server.thaw()


def test_the_events_of_a_connection_are_followed_until_it_is_closed(project: Project, layer: RedisChannelLayer) -> None:
    lines: list[dict[str, object]] = []
    with connect(f"ws://127.0.0.1:{project.port}/hop/") as client:
        client.send("x")
        client.recv(PATIENCE)
        [name] = [row["name"] for row in json.loads(millrace(project, "connections", "--json"))["connections"]]
        assert "--content is for channels" in millrace(project, "tail", name, "--content", status=2)
        with following(project, "tail", name, "--json") as tail:
            reader = threading.Thread(target=lambda: lines.extend(map(json.loads, tail.stdout or ())))
            reader.start()

            def echoed_and_shown() -> bool:
                client.send("x")
                client.recv(PATIENCE)
                return "frame from client" in [line.get("event") for line in list(lines)]

            wait_until(echoed_and_shown, "a frame to be shown")
            client.close()
            assert tail.wait(PATIENCE) == 0
            reader.join(PATIENCE)
            assert tail.stderr is not None
            assert "it is closed" in tail.stderr.read()
