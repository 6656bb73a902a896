"""Tests of benchmarks.studies.traffic."""

from __future__ import annotations

from benchmarks.studies.traffic import round_trips, table


def test_a_round_trip_is_a_script_or_a_pop() -> None:
    commands = {
        "cmdstat_evalsha": {"calls": 3.0, "usec": 9.0},
        "cmdstat_blmpop": {"calls": 2.0, "usec": 5.0},
        "cmdstat_time": {"calls": 5.0, "usec": 1.0},
    }
    assert round_trips(commands) == 5.0


def test_figures_are_medians_of_the_rounds() -> None:
    rounds = [
        {"server": cost, "worker": 20e-6, "redis": 8e-6, "bytes in": 380.0, "bytes out": 375.0, "round trips": 0.13}
        for cost in (30e-6, 31e-6, 90e-6)
    ]
    rows = table({"200": rounds}, {"1": [25e-6, 20e-6, 21e-6]})
    assert ["200 sockets, an echo, server", "31.0 µs", "", ""] in rows
    assert ["the same, bytes in", "380", "", ""] in rows
    assert ["the same, round trips", "0.13", "", ""] in rows
    assert ["a message to 1 processes, Redis", "21.0 µs", "", ""] in rows
