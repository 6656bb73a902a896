"""What reports have in common, and how they are read."""

from __future__ import annotations

import os
from typing import Any

import pytest

from channel_layer import facts
from channel_layer.facts import BOUNDS, LOST_SECONDS, MOST_NAMES, OTHER, Counts, Histogram, Identity
from channel_layer.layer import Counters
from channel_layer.reports import Report


def test_a_histogram_counts_each_duration_in_its_range() -> None:
    histogram = Histogram()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] * 1.01, BOUNDS[-1] + 1):
        histogram.observe(seconds)
    content = histogram.content()
    assert content["counts"] == [2, 1] + [0] * (len(BOUNDS) - 2) + [1]
    assert content["sum"] == pytest.approx(BOUNDS[0] * 2.01 + BOUNDS[-1] + 1)


def test_counts_have_so_many_names_and_no_more() -> None:
    counts = Counts()
    for number in range(MOST_NAMES + 50):
        counts.add(f"name {number}")
    counts.add("name 0", 5)
    assert len(counts) == MOST_NAMES + 1
    assert counts["name 0"] == 6
    assert counts[OTHER] == 50


def test_what_was_counted_under_a_name_can_be_taken_back_however_many_came_since() -> None:
    counts = Counts()
    counts.add("first")
    for number in range(MOST_NAMES):
        counts.add(f"name {number}")
    counts.add("late")
    counts.add("first", -1)
    counts.add("late", -1)
    assert counts["first"] == 0
    assert counts[OTHER] == 1  # the last of the names above


def test_a_report_says_whose_it_is() -> None:
    content = Identity("worker", parent=7).content("draining")
    assert (content["kind"], content["pid"], content["parent"], content["state"]) == (
        "worker",
        os.getpid(),
        7,
        "draining",
    )
    assert content["format"] == facts.FORMAT
    assert content["bounds"] == list(BOUNDS)
    assert "parent" not in Identity("web").content("running")


def test_every_counter_of_a_layer_has_a_reason_in_reports() -> None:
    counters = Counters(1, 2, 3, 4)
    assert sorted(facts.lost_by_layer(counters).values()) == sorted(vars(counters).values())


@pytest.mark.parametrize(
    ("state", "age", "verdict"),
    [
        ("running", 0, "running"),
        ("draining", LOST_SECONDS, "draining"),
        ("running", LOST_SECONDS + 1, "lost"),
        ("draining", LOST_SECONDS + 1, "lost"),
        ("ended", LOST_SECONDS + 1, "ended"),
        ("some state of a later version", 0, "running"),
    ],
)
def test_a_process_is_judged_by_its_last_report_and_the_age_of_that(state: str, age: float, verdict: str) -> None:
    report = Report("web.one", {"state": state}, age)
    assert facts.verdict(report) == verdict
    assert facts.is_alive(report) is (verdict in ("running", "draining"))


@pytest.mark.parametrize("content", [{}, {"layer": 7, "channels": "a"}, {"layer": {"lost": [1]}, "channels": [1]}])
def test_of_a_report_in_another_format_a_reader_takes_what_it_understands(content: dict[str, Any]) -> None:
    assert facts.numbers(content, "layer", "lost") == {}
    assert facts.number(content, "layer", "lost", "expired") == 0
    assert facts.texts(content, "channels") == []


def test_numbers_are_numbers() -> None:
    content = {"lost": {"a": 1, "b": 0.5, "c": True, "d": "2", "e": None}}
    assert facts.numbers(content, "lost") == {"a": 1, "b": 0.5}


def test_workers_that_take_messages_listen() -> None:
    def report(kind: str, state: str, *channels: str, age: float = 0) -> Report:
        return Report("any", {"kind": kind, "state": state, "channels": list(channels)}, age)

    found = [
        report("worker", "running", "a", "b"),
        report("worker", "draining", "c"),
        report("worker", "ended", "d"),
        report("worker", "running", "e", age=LOST_SECONDS + 1),
        report("web", "running", "f"),
    ]
    assert facts.listening(found) == {"a", "b"}
