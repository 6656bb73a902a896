"""Tests of benchmarks.targets."""

from __future__ import annotations

import pytest

from benchmarks.peers import PEERS
from benchmarks.targets import Target, times, verdict, within
from benchmarks.works import WORKS


@pytest.mark.parametrize(("figure", "reached"), [(0.000_45, True), (0.000_451, False), (None, None)])
def test_a_time_is_reached_by_what_is_not_longer(figure: float | None, reached: bool | None):
    (target,) = within(0.000_45)
    assert target.reached(figure, {}) is reached
    assert target.text({}) == "≤ 0.45 ms"


@pytest.mark.parametrize(("ratio", "reached"), [(40.0, True), (39.9, False), (None, None)])
def test_a_ratio_is_reached_by_what_is_not_smaller(ratio: float | None, reached: bool | None):
    target = Target(40, "channels1")
    assert target.reached(12_000, {"channels1": ratio, "channels4-uvicorn": 50.0}) is reached
    assert target.text({"channels1": "Channels 1.1.8"}) == "≥ 40 × Channels 1.1.8"


def test_a_peer_that_was_left_out_decides_nothing():
    assert Target(0.6, "nchan").reached(12_000, {}) is None


def test_several_ratios_are_several_targets():
    assert times(channels1=25, channels4_uvicorn=1.2) == (Target(25, "channels1"), Target(1.2, "channels4-uvicorn"))


def test_every_work_has_targets_that_the_command_measures():
    for work in WORKS:
        assert work.targets, work.title
        for target in work.targets:
            assert target.peer in PEERS if target.peer else work.latency, work.title


def test_verdicts_are_words():
    assert [verdict(reached) for reached in (True, False, None)] == ["reached", "missed", "not measured"]
