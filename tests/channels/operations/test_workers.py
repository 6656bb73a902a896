"""Health and metrics of workers."""

from __future__ import annotations

import os
import re
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from channels.operations import workers as module
from channels.operations.workers import Children, answers_of_supervisor, answers_of_worker, check_metrics, served
from interface_server.monitoring import Answers, Condition
from tests.channels.run_worker import RunWorker
from tests.conftest import free_port, wait_until
from tests.workers.tools import FlakyLayer, Routes, working
from workers import Supervisor, Worker


def fetch(port: int, path: str) -> tuple[int, str]:
    """Status and text of an answer; 0 while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def value(text: str, sample: str) -> float:
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize("processes", [1, 2])
def test_one_port_speaks_for_all_processes_until_they_stop(processes: int, tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    port = free_port()
    with RunWorker(tmp_path, "--processes", str(processes), "--metrics", str(port)) as program:
        wait_until(lambda: program.running and fetch(port, "/-/readyz") == (200, "ok\n"), "it to be ready", 60)
        for _ in range(6):
            program.layer.send("ping", {"reply_channel": program.layer.new_channel("test?")})

        def all_counted() -> bool:
            text = fetch(port, "/metrics")[1]
            # Of several processes not all may be there yet.
            return (
                value(text, 'millrace_messages_total{channel="ping",outcome="ok"}') == 6
                and sum(map(float, re.findall(r'^millrace_processes\{kind="worker",\S+ (\S+)$', text, re.MULTILINE)))
                == processes
                and value(text, 'millrace_wait_seconds_count{channel="ping"}') == 6
            )

        wait_until(all_counted, "the messages to be counted", 60)
        assert fetch(port, "/-/healthz") == (200, "ok\n")
        program.stop()
        assert fetch(port, "/-/healthz") == (0, "")


def test_a_worker_is_ready_while_it_reaches_its_layer_and_takes_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = FlakyLayer()
    idle = Worker(layer, Routes(a=print), signal_handlers=False)
    assert answers_of_worker(idle, layer).ready() == Condition(False, "the channel layer is away")
    with working(layer, Routes(a=print)) as worker:
        answers = answers_of_worker(worker, layer)
        layer.send("a", {})
        wait_until(lambda: answers.ready().good, "the worker to be ready")
        layer.receive_errors = [LayerUnavailable("here", "gone")] * 1_000
        wait_until(lambda: answers.ready().text == "the channel layer is away", "the worker to notice")
        layer.receive_errors.clear()
        wait_until(lambda: answers.ready().good, "the worker to be ready again")
        worker.stop()
        assert answers.ready() == Condition(False, "the worker is about to end")
        assert answers.health().good


def test_a_worker_whose_main_thread_hangs_is_not_alive() -> None:
    layer = MemoryChannelLayer()
    worker = Worker(layer, Routes(a=print), signal_handlers=False)
    answers = answers_of_worker(worker, layer)
    assert answers.health().good
    worker.ticked -= module.LOST_SECONDS + 1
    assert not answers.health().good
    assert answers.ready().text.startswith("the main thread has not moved for")


def child(**more: Any) -> dict[str, Any]:
    content = {"kind": "worker", "state": "running", "host": socket.gethostname(), "parent": os.getpid()}
    return {**content, "layer": {"up": True}, **more}


def test_a_supervisor_is_ready_while_one_of_its_processes_works() -> None:
    layer = MemoryChannelLayer()
    supervisor = Supervisor(["true"], 2, 1.0)
    answers = answers_of_supervisor(supervisor, layer)
    layer.publish_report("worker.other", child(parent=1))
    layer.publish_report("worker.away", child(layer={"up": False}))
    layer.publish_report("worker.old", child(state="ended"))
    assert answers.ready() == Condition(False, "no worker process has reported that it works")
    layer.publish_report("worker.own", child())
    assert answers.ready().good
    supervisor.stop()
    assert answers.ready() == Condition(False, "the workers are about to end")
    supervisor.ticked = time.monotonic() - module.LOST_SECONDS - 1
    assert not answers.health().good


def test_while_the_layer_is_away_the_last_reports_grow_old() -> None:
    now = [0.0]

    class Layer(MemoryChannelLayer):
        away = False

        def reports(self) -> Any:
            if self.away:
                raise LayerUnavailable("here", "gone")
            return super().reports()

    layer = Layer(clock=lambda: now[0])
    layer.publish_report("worker.own", child())
    children = Children(layer, lambda: now[0])
    assert [report.age for report in children.reports()] == [0.0]
    layer.away = True
    now[0] = 7.0
    assert [report.age for report in children.reports()] == [7.0]
    assert [report.age for report in children.reports()] == [7.0]


class Bare(MemoryChannelLayer):
    extensions = [name for name in MemoryChannelLayer.extensions if name != "reports"]


def test_metrics_that_cannot_be_had_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_available", lambda: True)
    check_metrics("", Bare(), 2)
    check_metrics("9102", Bare(), 1)
    check_metrics("9102", MemoryChannelLayer(), 2)
    with pytest.raises(CommandError, match="needs a channel layer with the extension 'reports'"):
        check_metrics("9102", Bare(), 2)
    monkeypatch.setattr(module, "is_available", lambda: False)
    with pytest.raises(CommandError, match="--metrics needs the package prometheus-client; install it: pip install"):
        check_metrics("9102", MemoryChannelLayer(), 1)


@pytest.mark.parametrize(
    ("place", "text"), [("here", "cannot be a place for metrics"), (None, "Address already in use")]
)
def test_a_place_that_cannot_be_used_is_one_sentence(place: str | None, text: str) -> None:
    good = Condition(True, "ok")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = served(place or str(taken.getsockname()[1]), Answers(lambda: good, lambda: good))
        with pytest.raises(CommandError, match=text):
            port.__enter__()
