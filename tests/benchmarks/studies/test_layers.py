"""Tests of benchmarks.studies.layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from benchmarks.peers import Peer, ours, over_postgres
from benchmarks.report import Setting
from benchmarks.stack import RoundError
from benchmarks.studies import layers


def test_one_socket_has_a_time_and_many_have_a_rate_each_with_the_spread_of_its_rounds() -> None:
    rounds = [{"p50": seconds, "count": count, "seconds": 2.0} for seconds, count in ((0.002, 90), (0.003, 100))]
    assert layers.rows_beside({"echo, 1 socket": {"One": rounds, "Other": rounds[:1]}, "echo, 50 sockets": {}}) == [
        ["echo, 1 socket, p50: One", "2.50 ms (40%)", "", ""],
        ["echo, 1 socket, p50: Other", "2.00 ms", "", ""],
    ]
    assert layers.rows_beside({"group, 50 sockets": {"One": rounds}}) == [
        ["group, 50 sockets: One", "47.5/s (11%)", "", ""]
    ]


class Stack:
    """A stack that does nothing."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def settle(self) -> None:
        """Nothing has happened."""


def test_stacks_take_turns_and_one_that_fails_at_a_load_does_not_stall_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, str, int]] = []

    @contextmanager
    def running(peer: Peer) -> Iterator[Stack]:
        yield Stack(peer)

    def once(stack: Stack, kind: str, *, path: str, sockets: int, seconds: float) -> dict[str, Any]:
        asked.append((stack.peer.layer, kind, sockets))
        if stack.peer.layer == "channels_postgres" and kind == "group":
            raise RoundError("nobody came")
        return {"p50": 0.001, "count": 10, "seconds": seconds}

    monkeypatch.setattr(layers, "Stack", running)
    monkeypatch.setattr(layers, "once", once)
    notes: list[str] = []
    first, _, other = over_postgres()
    found = layers.beside(Setting(2, 1.0, lambda text: None), [first, other], notes)
    assert [layer for layer, *load in asked if load == ["echo", 50]] == ["postgres", "channels_postgres"] * 3
    assert [layer for layer, *load in asked if load == ["group", 1]] == [
        "postgres", "channels_postgres", "postgres", "postgres",
    ]  # fmt: skip
    assert {load: [len(each) for each in rounds.values()] for load, rounds in found.items()} == {
        "echo, 1 socket": [2, 2],
        "echo, 50 sockets": [2, 2],
        "group, 1 socket": [2],
        "group, 50 sockets": [2],
    }
    assert notes == ["group, 1 socket: nobody came", "group, 50 sockets: nobody came"]
    assert first == ours(layer="postgres")
