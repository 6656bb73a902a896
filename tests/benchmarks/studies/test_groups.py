"""Tests of benchmarks.studies.groups."""

from __future__ import annotations

import pytest

from benchmarks.studies.groups import above_least, spent, table


def test_a_send_costs_what_was_added_and_what_scripts_call_takes_no_time_besides() -> None:
    before = {"evalsha": {"calls": 10, "usec": 100}, "rpush": {"calls": 10, "usec": 10}}
    after = {
        "evalsha": {"calls": 14, "usec": 160},
        "rpush": {"calls": 18, "usec": 18},
        "blmpop": {"calls": 4, "usec": 8},
        "info": {"calls": 2, "usec": 500},
    }
    costs = spent(before, after, 4)
    assert costs["by command"] == pytest.approx({"evalsha": 15e-6, "blmpop": 2e-6})
    assert costs["in redis"] == pytest.approx(17e-6)
    assert costs["commands"] == 4


def test_the_largest_difference_is_a_share_of_the_least() -> None:
    assert above_least([20.0, 24.0, 22.0]) == pytest.approx(0.2)


def test_a_cost_that_grows_with_the_members_misses_the_target() -> None:
    sends = {
        members: [{"in redis": cost, "commands": 9.55, "count": 40, "seconds": 2.0}]
        for members, cost in {"10": 20e-6, "1000": 22e-6, "10000": 26e-6}.items()
    }
    rows = table(sends, [{"count": 10_000, "seconds": 1.6}])
    assert ["a send to 1,000 members, in Redis", "22.0 µs", "", ""] in rows
    assert ["the same, commands of Redis", "9.6", "", ""] in rows
    assert ["the same, deliveries", "20,000/s", "", ""] in rows
    assert rows[-2:] == [
        ["in Redis, largest above least", "30%", "≤ 20%", "missed"],
        ["10,000 sockets join", "6,250/s", "≥ 5,000/s", "reached"],
    ]
