"""Tests of benchmarks.crowd.loads, against real WebSockets and against a peer made of socket pairs and a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from websockets.frames import Opcode
from websockets.sync.server import ServerConnection

from benchmarks.crowd.loads import BURST, PAYLOAD, echo, gather, group, join
from benchmarks.crowd.sockets import Connection, LoadError, server_frame

from .conftest import Opened

Answer = Callable[[int, bytes], list[tuple[int, bytes]]]
"""Takes a socket's number and the text that came; gives (number, bytes) to write."""


@contextmanager
def served(count: int, answer: Answer) -> Iterator[list[Connection]]:
    """Connections whose far ends are read by one thread, which writes what ``answer`` says."""
    pairs = [socket.socketpair() for _ in range(count)]
    far = [pair[1] for pair in pairs]

    def read(number: int) -> None:
        try:
            while data := far[number].recv(65_536):
                for text in _texts(data):
                    with lock:
                        for target, written in answer(number, text):
                            far[target].sendall(written)
        except OSError:
            return  # the load is over and its sockets are closed

    lock = threading.Lock()
    threads = [threading.Thread(target=read, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield [Connection(pair[0], number) for number, pair in enumerate(pairs)]
    finally:
        for near, _ in pairs:
            near.close()
        for thread in threads:
            thread.join()
        for each in far:
            each.close()


def _texts(data: bytes) -> Iterator[bytes]:
    """The payloads of the text frames that came together."""
    while data:
        size = data[1] & 0x7F
        mask, masked = data[2:6], data[6 : 6 + size]
        if data[0] & 0x0F == Opcode.TEXT:
            yield bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))
        data = data[6 + size :]


def frame_of(text: bytes) -> bytes:
    return server_frame(Opcode.TEXT, text)


def test_echoes_are_counted_and_timed():
    with served(3, lambda number, text: [(number, frame_of(text))]) as connections:
        load = echo(connections, 0.05)
    assert load.count == len(load.latencies) > 3
    assert 0 < load.seconds <= 0.05


def test_an_echo_that_comes_in_pieces_behind_a_ping_counts():
    def answer(number: int, text: bytes) -> list[tuple[int, bytes]]:
        data = server_frame(Opcode.PING, b"") + frame_of(text)
        return [(number, data[:30]), (number, data[30:])]

    with served(1, answer) as connections:
        assert echo(connections, 0.02).count > 0


@pytest.mark.parametrize("spoil", [bytes.upper, lambda text: b"socket 0 message 0 ".ljust(PAYLOAD, b".")])
def test_a_wrong_or_repeated_echo_ends_the_load(spoil: Callable[[bytes], bytes]):
    with (
        served(1, lambda number, text: [(number, frame_of(spoil(text)))]) as connections,
        pytest.raises(LoadError, match="something else than it should"),
    ):
        echo(connections, 30)


def test_deliveries_to_all_members_are_counted():
    def answer(number: int, text: bytes) -> list[tuple[int, bytes]]:
        return [(member, frame_of(text)) for member in range(4)]

    with served(4, answer) as connections:
        gather(connections)
        load = group(connections, 0.05)
    assert load.count == len(load.latencies) > 0


def test_a_delivery_that_comes_twice_ends_the_load():
    def answer(number: int, text: bytes) -> list[tuple[int, bytes]]:
        return [(0, frame_of(text)), (0, frame_of(text)), (1, frame_of(text))]

    with served(2, answer) as connections, pytest.raises(LoadError, match="socket 0"):
        group(connections, 30)


def returned(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


def cut(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message[:-1] + b"?")  # type: ignore[operator]  # the client sends bytes


@pytest.mark.parametrize("size", [1, 1_024, 1_048_576])
def test_messages_of_any_size_come_back(opened: Opened, size: int) -> None:
    load = echo(opened(returned, 2), 0.1, Opcode.BINARY, size)
    assert load.count == len(load.latencies) > 0


def test_a_wrong_byte_at_the_end_of_a_large_message_is_noticed(opened: Opened) -> None:
    with pytest.raises(LoadError, match="something else than it should"):
        echo(opened(cut, 1), 0.1, Opcode.BINARY, 300_000)


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
    load = group(connections, 0.0, bursts=True)
    assert load.count == BURST * len(load.latencies)


def test_a_message_that_a_member_misses_is_noticed(opened: Opened) -> None:
    connections = opened(Group(forgetful=True), 2)
    join(connections)
    with pytest.raises(LoadError, match="something else than it should"):
        group(connections, 0.0, bursts=True)
