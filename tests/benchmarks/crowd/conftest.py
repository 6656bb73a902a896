"""A WebSocket server for the clients of benchmarks.crowd, made with `websockets`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from websockets.sync.server import Server, ServerConnection, serve

from benchmarks.crowd.sockets import Connection, open_websockets

Served = Callable[[Callable[[ServerConnection], None]], int]
"""Takes what is done with a connection; returns the port."""

Opened = Callable[[Callable[[ServerConnection], None], int], list[Connection]]
"""Takes what is done with a connection and how many to open; returns them."""


@pytest.fixture
def served() -> Iterator[Served]:
    """Serves until the end of the test."""
    running: list[tuple[Server, threading.Thread]] = []

    def start(handler: Callable[[ServerConnection], None]) -> int:
        server = serve(handler, "127.0.0.1", 0, compression=None, max_size=None)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        running.append((server, thread))
        return int(server.socket.getsockname()[1])

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()


@pytest.fixture
def opened(served: Served) -> Iterator[Opened]:
    """Serves, and opens sockets that are closed at the end of the test."""
    connections: list[Connection] = []

    def start(handler: Callable[[ServerConnection], None], count: int) -> list[Connection]:
        connections.extend(open_websockets("127.0.0.1", served(handler), "/", count))
        return connections

    yield start
    for connection in connections:
        connection.sock.close()
