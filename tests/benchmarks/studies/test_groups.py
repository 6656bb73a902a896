"""Tests of benchmarks.studies.groups."""

from __future__ import annotations

import pytest

from benchmarks.stack import RoundError
from benchmarks.studies.groups import above_least, cost, table
from channel_layer.redis.scripts import GROUP_SEND


def entry(command: bytes, duration: int) -> dict[str, object]:
    return {"command": command, "duration": duration}


def test_a_send_costs_what_its_script_takes_and_all_commands_are_counted() -> None:
    send = b"EVALSHA " + GROUP_SEND.digest.encode() + b" 2 group:all statistics"
    entries = [entry(send, duration) for duration in (90, 10, 11, 9)]
    entries += [entry(b"TIME", 0)] * 4 + [entry(b"EVALSHA 0123 1 queue", 60), entry(b"BLMPOP 0 1 queue LEFT", 12)]
    costs = cost(entries, 4)
    assert costs["in redis"] == pytest.approx(10.5e-6)
    assert costs["commands"] == 2.5


def test_a_log_without_all_sends_is_no_measurement() -> None:
    with pytest.raises(RoundError, match="logged 0 of 20 sends"):
        cost([entry(b"TIME", 0)], 20)


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
