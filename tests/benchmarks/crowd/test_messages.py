"""Tests of benchmarks.crowd.messages."""

from __future__ import annotations

import pytest
from websockets.sync.server import ServerConnection

from benchmarks.crowd.messages import exchange
from benchmarks.sockets import LoadError

from .conftest import Opened


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


def cut(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message[:-1] + b"?")  # type: ignore[operator]  # the client sends bytes


@pytest.mark.parametrize("size", [1, 1_024, 1_048_576])
def test_messages_of_any_size_come_back(opened: Opened, size: int) -> None:
    connections = opened(echo, 2)
    load = exchange(connections, size, 0.1)
    assert load.count == len(load.latencies) > 0


def test_a_wrong_byte_at_the_end_of_a_large_message_is_noticed(opened: Opened) -> None:
    connections = opened(cut, 1)
    with pytest.raises(LoadError, match="something else than it should"):
        exchange(connections, 300_000, 0.1)
