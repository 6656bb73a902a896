"""Tests of benchmarks.loads, against a peer made of socket pairs and a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks.frames import CLOSE, PING, TEXT, server_frame
from benchmarks.loads import PAYLOAD, echo, gather, group
from benchmarks.sockets import Connection, LoadError

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
        if data[0] & 0x0F == TEXT:
            yield bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))
        data = data[6 + size :]


def test_echoes_are_counted_and_timed():
    with served(3, lambda number, text: [(number, server_frame(TEXT, text))]) as connections:
        load = echo(connections, 0.05)
    assert load.count == len(load.latencies) > 3
    assert load.seconds >= 0.05


def test_an_echo_that_comes_in_pieces_behind_a_ping_counts():
    def answer(number: int, text: bytes) -> list[tuple[int, bytes]]:
        data = server_frame(PING, b"") + server_frame(TEXT, text)
        return [(number, data[:30]), (number, data[30:])]

    with served(1, answer) as connections:
        assert echo(connections, 0.02).count > 0


@pytest.mark.parametrize("spoil", [bytes.upper, lambda text: b"socket 0 message 0 ".ljust(PAYLOAD, b".")])
def test_a_wrong_or_repeated_echo_ends_the_load(spoil: Callable[[bytes], bytes]):
    with (
        served(1, lambda number, text: [(number, server_frame(TEXT, spoil(text)))]) as connections,
        pytest.raises(LoadError, match="in place of its echo"),
    ):
        echo(connections, 30)


def test_deliveries_to_all_members_are_counted():
    def answer(number: int, text: bytes) -> list[tuple[int, bytes]]:
        return [(member, server_frame(TEXT, text.ljust(PAYLOAD, b"."))) for member in range(4)]

    with served(4, answer) as connections:
        gather(connections)
        load = group(connections, 0.05)
    assert load.count == 4 * len(load.latencies) > 0


def test_a_delivery_that_comes_twice_ends_the_load():
    def answer(number: int, text: bytes) -> list[tuple[int, bytes]]:
        frame = server_frame(TEXT, text.ljust(PAYLOAD, b"."))
        return [(0, frame), (0, frame), (1, frame)]

    with served(2, answer) as connections, pytest.raises(LoadError, match="member 0"):
        group(connections, 30)


def test_a_closed_socket_ends_the_load():
    near, far = socket.socketpair()
    with near, far, pytest.raises(LoadError, match="closed connection 7"):
        Connection(near, 7).messages(b"")


def test_a_close_frame_ends_the_load_with_its_code():
    near, far = socket.socketpair()
    with near, far, pytest.raises(LoadError, match="closed connection 7 with 1011"):
        Connection(near, 7).messages(server_frame(CLOSE, b"\x03\xf3"))
