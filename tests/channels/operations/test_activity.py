"""What has happened between two reports of a process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from channel_layer.facts import BOUNDS
from channel_layer.reports import Report
from channels.operations.activity import Activity, History, Pace
from tests.channels.operations.test_health import WEB, WORKER


def times(*counts: int, sum: float = 0.0) -> dict[str, Any]:
    """A histogram with these numbers in its first ranges."""
    return {"counts": [*counts, *[0] * (len(BOUNDS) + 1 - len(counts))], "sum": sum}


def worker(**more: Any) -> Report:
    return Report("worker.b", {**WORKER, **more}, 0.0)


def between(*looks: tuple[float, Report]) -> Activity:
    history = History()
    assert not history.is_complete
    for now, report in looks:
        activity = history.add([report], now)
    return activity


def test_a_pace_goes_by_the_time_between_two_reports() -> None:
    consumers = [
        {"app.mail": {"outcomes": {"ok": ok, "failed": failed}, "seconds": times(0, ok + failed, sum=total)}}
        for ok, failed, total in ((10, 0, 1.0), (16, 2, 1.8))
    ]
    activity = between(
        (100.0, worker(messages={"mail": {"ok": 10}}, waited={"mail": times(10, sum=0.1)}, consumers=consumers[0])),
        (102.0, worker(
            messages={"mail": {"ok": 16, "failed": 2}, "new": {"ok": 4}},
            waited={"mail": times(10, 0, 8, sum=0.5)},
            consumers=consumers[1],
        )),
    )  # fmt: skip
    assert (activity.messages.per_second, activity.messages.failed) == (6.0, 1.0)
    mail = activity.channels["mail"]
    assert (mail.per_second, mail.mean, mail.most) == (4.0, pytest.approx(0.05), BOUNDS[2])
    [(name, pace)] = activity.slowest()
    assert (name, pace.per_second, pace.failed, pace.mean) == ("app.mail", 4.0, 1.0, pytest.approx(0.1))
    json.dumps(activity.as_json())


def test_processes_are_added_up() -> None:
    history = History()
    for now, requests, turns, deliveries in ((10.0, 1, 5, 0), (12.0, 11, 25, 8)):
        content = {
            **WEB,
            "request_seconds": times(requests),
            "turn_seconds": times(turns, sum=turns / 1000),
            "deliveries": deliveries,
        }
        activity = history.add([Report("daphne.a", content, 0.0), Report("daphne.b", content, 0.0)], now)
    assert history.is_complete
    assert (activity.requests.per_second, activity.turns.per_second) == (10.0, 20.0)
    assert (activity.deliveries.per_second, activity.turns.mean) == (8.0, pytest.approx(0.001))


def test_the_same_report_seen_again_changes_nothing() -> None:
    older, newer = worker(messages={"mail": {"ok": 1}}), worker(messages={"mail": {"ok": 5}})
    activity = between((10.0, older), (12.0, newer), (13.9, Report("worker.b", newer.content, 1.95)))
    assert activity.messages.per_second == 2.0


def test_counts_that_begin_anew_are_not_negative() -> None:
    activity = between(
        (10.0, worker(messages={"mail": {"ok": 100}}, waited={"mail": times(100, sum=9.0)})),
        (12.0, worker(messages={"mail": {"ok": 4}}, waited={"mail": times(4, sum=2.0)})),
    )
    assert activity.messages.per_second == 2.0
    assert (activity.channels["mail"].per_second, activity.channels["mail"].mean) == (2.0, 0.5)


def test_a_process_that_has_gone_is_forgotten() -> None:
    history = History()
    history.add([worker(messages={"mail": {"ok": 1}})], 10.0)
    history.add([worker(messages={"mail": {"ok": 3}})], 12.0)
    ended = Report("worker.b", {**WORKER, "state": "ended"}, 0.0)
    assert history.add([ended], 14.0).messages.per_second == 0
    assert not history.is_complete


@pytest.mark.parametrize("histogram", [None, {}, {"counts": [1, 2], "sum": 1}, {"counts": ["x"] * 16}, {"counts": 5}])
def test_a_histogram_of_another_version_is_left_out(histogram: Any) -> None:
    activity = between((10.0, worker(waited={"mail": times(1)})), (12.0, worker(waited={"mail": histogram})))
    assert activity.channels["mail"].per_second == 0


def test_times_beyond_the_last_range_have_no_end() -> None:
    pace = Pace(counts=[0.0] * len(BOUNDS) + [1.0], total=90.0)
    assert (pace.mean, pace.most) == (90.0, float("inf"))
    assert pace.as_json()["most_seconds"] is None
    assert (Pace().mean, Pace().most) == (None, None)
