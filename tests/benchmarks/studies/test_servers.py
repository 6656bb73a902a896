"""Tests of benchmarks.studies.servers."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.studies import servers
from benchmarks.studies.servers import carrier, table


@pytest.mark.redis
def test_every_server_carries_its_part_of_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"GROUPS": 40, "READERS": 4, "MEMBERS": 2, "BURST": 50, "BURSTS": 2}.items():
        monkeypatch.setattr(servers, name, value)

    async def carry_once() -> servers.Round:
        async with carrier(2) as carry:
            return await carry()

    said = asyncio.run(carry_once())
    assert len(said["used"]) == 2
    assert min(said["used"]) > 0
    assert said["busiest"] == max(said["used"]) / 200


def test_growth_is_that_within_a_round() -> None:
    carrying = {"1": [{"busiest": 40e-6}, {"busiest": 80e-6}], "2": [{"busiest": 20e-6}, {"busiest": 40e-6}]}
    waiting = [{"process": 1e-3, "memory": 2048, "server": 2e-3, "in redis": 1024}]
    rows = {row[0]: row[1:] for row in table(carrying, waiting)}
    assert rows["messages that 2 carry, beside 1"] == ["2.00 ×", "≥ 1.70 ×", "reached"]
    assert rows["a message to a group, busiest of 2"][0] == "30.0 µs"
    assert rows["the same, its memory"][0] == "2.0 KiB"
