"""Tests of benchmarks.clients, with a real client process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

from benchmarks.clients import Client, once
from benchmarks.peers import PEERS
from benchmarks.stack import RoundError, Stack

from .crowd.conftest import Served, served  # noqa: F401  (a fixture)


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A peer of which nothing is started."""
    made = Stack(PEERS["millrace"])
    monkeypatch.setattr(made, "said", lambda role, lines: "nothing")
    yield made
    made.stop()


def test_a_client_runs_its_load_as_often_as_it_is_told(served: Served, stack: Stack):  # noqa: F811
    stack.port = served(echo)
    with Client(stack, "echo", path="/", sockets=2, seconds=0.1) as client:
        rounds: list[dict[str, Any]] = [client.run(), client.run()]
    assert all(each["count"] > 0 and each["cpu"] > 0 and each["p50"] <= each["p99"] for each in rounds)


def test_what_a_client_cannot_do_fails_the_round(served: Served, stack: Stack):  # noqa: F811
    stack.port = served(lambda connection: None)
    with pytest.raises(RoundError, match=r"Millrace: .*; its server said: nothing"):
        once(stack, "echo", path="/", sockets=1, seconds=0.1)
