"""Tests of benchmarks.crowd.openings."""

from __future__ import annotations

import os
import socket
import threading

import pytest
from websockets.sync.server import ServerConnection

from benchmarks.crowd.openings import handshakes, hold
from benchmarks.crowd.sockets import LoadError

from .conftest import Opened, Served

HOST = "127.0.0.1"


def until_closed(connection: ServerConnection) -> None:
    for _ in connection:
        pass


def test_opened_sockets_are_numbered_and_held_until_there_is_something_to_read(opened: Opened) -> None:
    connections = opened(until_closed, 3)
    reading, writing = os.pipe()
    os.write(writing, b"\n")
    try:
        hold(connections, reading)
        assert [connection.number for connection in connections] == [0, 1, 2]
    finally:
        os.close(reading)
        os.close(writing)


def test_a_held_socket_that_the_server_closes_is_a_failure(opened: Opened) -> None:
    may_close = threading.Event()

    def close_soon(connection: ServerConnection) -> None:
        may_close.wait(30)

    connections = opened(close_soon, 1)
    may_close.set()
    reading, writing = os.pipe()
    try:
        with pytest.raises(LoadError, match="closed connection 0 with 1000"):
            hold(connections, reading)
    finally:
        os.close(reading)
        os.close(writing)


def test_handshakes_are_counted_when_they_are_closed_again(served: Served) -> None:
    load = handshakes(HOST, served(until_closed), "/", 2, 0.2)
    assert 0 < load.count <= len(load.latencies)
    assert 0 < load.seconds <= 0.2


def test_a_server_that_hangs_up_fails_the_handshakes() -> None:
    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=lambda: listener.accept()[0].close())
        thread.start()
        with pytest.raises((LoadError, OSError)):
            handshakes(HOST, listener.getsockname()[1], "/", 1, 5.0)
        thread.join()
