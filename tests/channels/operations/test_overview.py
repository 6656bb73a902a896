"""What is seen of a system, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.facts import FORMAT, LOST_SECONDS
from channel_layer.memory import MemoryChannelLayer
from channels.operations.overview import NoReportsError, Overview, overview


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def report(kind: str, **more: Any) -> dict[str, Any]:
    own = {"format": FORMAT, "kind": kind, "host": "here", "pid": 7, "state": "running", "layer": {"up": True}}
    return {**own, **more}


def system(clock: Clock) -> MemoryChannelLayer:
    layer = MemoryChannelLayer(clock=clock, expiry=10_000)
    layer.publish_report("daphne.a", report("web"))
    layer.publish_report("worker.b", report("worker", channels=["mail", "websocket.receive"]))
    return layer


def test_where_all_is_well_there_is_nothing_to_say() -> None:
    found = overview(system(Clock()))
    assert found.problems == []
    assert found.summary() == "1 web server, 1 worker"
    assert "mail" in found.channels


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("worker.b", report("worker", state="ended"), "no worker reports"),
        ("daphne.a", report("web", state="ended"), "no web server reports"),
        (
            "daphne.a",
            report("web", layer={"up": False}),
            "web daphne.a on here (pid 7) does not get messages from the channel layer",
        ),
        (
            "worker.b",
            report("worker", busy_seconds=61.2),
            "worker worker.b on here (pid 7) has been in one consumer for 61 seconds",
        ),
        (
            "worker.b",
            report("worker", format=99),
            "worker worker.b on here (pid 7) reports in another format, of which a part is not understood; "
            "update one of the two",
        ),
    ],
)
def test_what_is_wrong_with_a_process_is_one_sentence(name: str, content: dict[str, Any], problem: str) -> None:
    layer = system(Clock())
    layer.publish_report(name, content)
    assert overview(layer).problems == [problem]


def test_a_process_that_died_is_lost_and_comes_first() -> None:
    clock = Clock()
    layer = system(clock)
    clock.now = LOST_SECONDS + 5
    layer.publish_report("worker.c", report("worker"))
    layer.publish_report("daphne.d", report("web"))
    found = overview(layer)
    assert found.problems == [
        "web daphne.a on here (pid 7) is lost: its last report is 15 seconds old",
        "worker worker.b on here (pid 7) is lost: its last report is 15 seconds old",
    ]
    assert [report.name for report in found.reports] == ["daphne.a", "worker.b", "daphne.d", "worker.c"]


def test_messages_that_wait_for_long_or_for_nobody_are_named() -> None:
    clock = Clock()
    layer = system(clock)
    layer.send("mail", {})
    layer.send("http.request", {})
    clock.now = 5.0
    assert overview(layer, 10).problems == ["1 message waits on http.request, and no worker listens there"]
    assert overview(layer, 2).problems == [
        "1 message waits on http.request, and no worker listens there",
        "1 message waits on mail, the oldest for 5.0 seconds",
    ]


def test_a_layer_that_is_away_is_the_one_thing_to_say() -> None:
    class Away(MemoryChannelLayer):
        def reports(self) -> Any:
            raise LayerUnavailable("redis://here", "connection refused")

    found = overview(Away())
    assert found == Overview([found.away], away=found.away)
    assert "redis://here" in found.away


def test_a_layer_that_keeps_no_reports_is_one_sentence() -> None:
    class Bare(MemoryChannelLayer):
        extensions = [name for name in MemoryChannelLayer.extensions if name != "reports"]

    with pytest.raises(NoReportsError, match="keeps no reports of processes"):
        overview(Bare())
