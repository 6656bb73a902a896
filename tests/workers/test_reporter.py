"""Reports of a worker at work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from channel_layer.questions import FORMAT, channel_for, question
from tests.conftest import wait_until
from workers import reporter
from workers.reporter import Reporter

from .tools import FlakyLayer, Routes, working


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "REPORT_SECONDS", 0.05)


def report_of(layer: MemoryChannelLayer, condition: Callable[[dict[str, Any]], object] = bool) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        reports = [dict(report.content) for report in layer.reports()]
        return reports[0] if len(reports) == 1 and condition(reports[0]) else None

    return wait_until(look, "such a report")  # type: ignore[return-value]


def fail(message: Any) -> None:
    raise ValueError("no such thing")


async def later(message: Any) -> None:
    """An ``async def`` consumer."""


def test_a_worker_reports_what_its_consumers_did() -> None:
    layer = MemoryChannelLayer()
    with working(layer, Routes(a=lambda message: None, b=fail, c=later), parent=7):
        for channel in ("a", "b", "c", "a"):
            layer.send(channel, {})
        report = report_of(layer, lambda report: sum(sum(o.values()) for o in report["messages"].values()) == 4)
    assert report["messages"] == {"a": {"ok": 2}, "b": {"failed": 1}, "c": {"ok": 1}}
    assert report["errors_count"] == {"ValueError": 1}
    [error] = report["errors"]
    assert (error["channel"], error["consumer"]) == ("b", f"{__name__}.fail")
    assert error["error"] == "ValueError: no such thing"
    assert error["traceback"].endswith("ValueError: no such thing\n")
    assert {channel: sum(waited["counts"]) for channel, waited in report["waited"].items()} == {"a": 2, "b": 1, "c": 1}
    assert set(report["channels"]) == {"a", "b", "c"}
    assert (report["kind"], report["parent"], report["threads"]) == ("worker", 7, 4)
    assert report["layer"]["up"] is True


def test_a_worker_whose_consumers_all_hang_still_reports_and_says_for_how_long() -> None:
    layer = MemoryChannelLayer()
    release = threading.Event()
    try:
        with working(layer, Routes(a=lambda message: release.wait(60)), threads=1):
            layer.send("a", {})
            report = report_of(layer, lambda report: report["busy_seconds"] > 0.1)
            assert report["busy"] == 1
            release.set()
            assert report_of(layer, lambda report: not report["busy"])["busy_seconds"] == 0
    finally:
        release.set()


def test_a_worker_that_stops_says_first_that_it_drains_and_then_that_it_has_ended() -> None:
    layer = MemoryChannelLayer()
    release, begun = threading.Event(), threading.Event()

    def consumer(message: Any) -> None:
        begun.set()
        release.wait(60)

    try:
        with working(layer, Routes(a=consumer)) as worker:
            layer.send("a", {})
            assert begun.wait(20)
            worker.stop()
            report_of(layer, lambda report: report["state"] == "draining")
            release.set()
    finally:
        release.set()
    assert [report.content["state"] for report in layer.reports()] == ["ended"]


def test_an_outage_of_the_layer_is_counted() -> None:
    layer = FlakyLayer()
    layer.receive_errors = [LayerUnavailable("here", "gone")]
    with working(layer, Routes(a=lambda message: None)):
        assert report_of(layer, lambda report: report["layer"]["failures"] == 1 and report["layer"]["up"])


class Unwilling(MemoryChannelLayer):
    def publish_report(self, *args: Any) -> None:
        raise LayerUnavailable("here", "gone")


def test_a_layer_that_takes_no_report_disturbs_nobody() -> None:
    layer = Unwilling()
    ran = threading.Event()
    with working(layer, Routes(a=lambda message: ran.set())):
        layer.send("a", {})
        assert ran.wait(20)


class Bare(MemoryChannelLayer):
    extensions = [name for name in MemoryChannelLayer.extensions if name != "reports"]


def answer_to(layer: MemoryChannelLayer, name: str, ask: str, **more: Any) -> dict[str, Any]:
    channel = layer.new_channel("millrace.answers?")
    layer.send(channel_for("worker", name), {**question(ask, channel, {}), **more})
    return wait_until(lambda: layer.receive([channel])[1], "an answer")  # type: ignore[return-value]


def test_an_operator_may_have_a_worker_drained_and_learns_what_it_does_not_know() -> None:
    layer = MemoryChannelLayer()
    release, begun = threading.Event(), threading.Event()

    def consumer(message: Any) -> None:
        begun.set()
        release.wait(60)

    try:
        with working(layer, Routes(a=consumer), threads=1) as worker:
            assert report_of(layer)["questions"] == FORMAT
            layer.send("a", {})
            assert begun.wait(20)
            assert answer_to(layer, worker.name, "close")["error"] == (
                f"{worker.name} is a worker, which does not know the question 'close'"
            )
            other = answer_to(layer, worker.name, "drain", format=FORMAT + 1)
            assert "update one of the two" in other["error"]
            assert not worker.termed
            assert answer_to(layer, worker.name, "drain")["draining"] is True
            report_of(layer, lambda report: report["state"] == "draining")
            release.set()
            report_of(layer, lambda report: report["state"] == "ended")
    finally:
        release.set()


def test_a_question_that_names_no_channel_for_its_answer_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    layer = MemoryChannelLayer()
    with working(layer, Routes(a=lambda message: None)) as worker:
        layer.send(channel_for("worker", worker.name), {**question("drain", "mail", {})})
        wait_until(lambda: "names no channel for its answer" in caplog.text, "a line in the log")
        assert answer_to(layer, worker.name, "so?")["error"]
        assert not worker.termed


def test_without_the_extension_there_is_no_thread() -> None:
    own = Reporter(Bare(), "worker.x", lambda state: {}, lambda: None)
    own.start()
    assert own._thread is None
    own.end()
