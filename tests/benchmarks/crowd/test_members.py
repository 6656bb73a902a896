"""Tests of benchmarks.crowd.members."""

from __future__ import annotations

import threading

import pytest
from websockets.sync.server import ServerConnection

from benchmarks.crowd.members import BURST, bursts, join
from benchmarks.loads import PAYLOAD
from benchmarks.sockets import LoadError

from .conftest import Opened


class Group:
    """A server whose sockets are members once they have asked; ``forgetful`` leaves one message of a burst out."""

    def __init__(self, forgetful: bool = False) -> None:
        self._members: list[ServerConnection] = []
        self._lock = threading.Lock()
        self._forgetful = forgetful

    def __call__(self, connection: ServerConnection) -> None:
        for message in connection:
            text = str(message)
            with self._lock:
                if text == "join":
                    self._members.append(connection)
                    connection.send("joined")
                    continue
                if " times " in text:
                    texts = [f"{text} {number} " for number in range(BURST)]
                    if self._forgetful:
                        del texts[1]
                else:
                    texts = [text]
                for each in texts:
                    for member in self._members:
                        member.send(each.ljust(PAYLOAD, "."))


def test_all_join_and_get_every_message_of_a_burst(opened: Opened) -> None:
    connections = opened(Group(), 3)
    joined = join(connections)
    assert joined.count == len(joined.latencies) == 3
    load = bursts(connections, 0.0)
    assert load.count == BURST * len(load.latencies)


def test_a_message_that_a_member_misses_is_noticed(opened: Opened) -> None:
    connections = opened(Group(forgetful=True), 2)
    join(connections)
    with pytest.raises(LoadError, match="something else than it should"):
        bursts(connections, 0.0)
