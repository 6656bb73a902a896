"""Tests of benchmarks.studies.groups."""

from __future__ import annotations

import pytest

from benchmarks.studies.groups import above_least, seconds_of, spent, table


def test_what_scripts_call_is_not_counted_again() -> None:
    statistics = {
        "cmdstat_evalsha": {"calls": 2, "usec": 30, "usec_per_call": 15.0},
        "cmdstat_rpush": {"calls": 2, "usec": 3, "usec_per_call": 1.5},
        "cmdstat_blmpop": {"calls": 4, "usec": 8, "usec_per_call": 2.0},
        "cmdstat_info": {"calls": 1, "usec": 90, "usec_per_call": 90.0},
    }
    assert seconds_of(statistics) == pytest.approx({"evalsha": 30e-6, "blmpop": 8e-6})


def test_what_was_spent_is_the_difference_of_two_accounts() -> None:
    assert spent({"blmpop": 1.0, "lmpop": 2.0}, {"blmpop": 1.5, "lmpop": 2.0, "evalsha": 0.25}) == {
        "blmpop": 0.5,
        "evalsha": 0.25,
    }


def test_the_largest_difference_is_a_share_of_the_least() -> None:
    assert above_least([20.0, 24.0, 22.0]) == pytest.approx(0.2)


def test_a_cost_that_grows_with_the_members_misses_the_target() -> None:
    sends = {
        members: [{"in redis": cost, "count": 40, "seconds": 2.0}]
        for members, cost in {"10": 20e-6, "1000": 22e-6, "10000": 26e-6}.items()
    }
    rows = table(sends, [{"count": 10_000, "seconds": 1.6}])
    assert ["a send to 1,000 members, in Redis", "22.0 µs", "", ""] in rows
    assert ["the same, deliveries", "20,000/s", "", ""] in rows
    assert rows[-2:] == [
        ["in Redis, largest above least", "30%", "≤ 20%", "missed"],
        ["10,000 sockets join", "6,250/s", "≥ 5,000/s", "reached"],
    ]
