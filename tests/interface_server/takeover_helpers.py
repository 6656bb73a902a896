"""A connection that goes from one process to the next, without processes."""

from __future__ import annotations

from typing import Any

from interface_server.bridge.hosts import Hosts
from interface_server.takeover.estate import Estate
from interface_server.websocket.connection import WebSocketConnection
from tests.interface_server.fakes import FakeSocket, QuietContext


class Moved:
    """The same connection in another process.

    Attributes:
        state: what was carried.
    """

    def __init__(self, before: Any, **options: Any) -> None:
        unsent = [
            entry
            for entry in before.context.records.entries
            if entry.sender is before.connection and not entry.stored_at and not entry.cancelled
        ]
        state = before.connection.give_away(unsent)
        self.state = Estate.unpack(Estate({}, "", sockets=[state]).pack()).sockets[0]
        self.context = QuietContext(**options)
        self.context.name = before.context.name
        self.context.now = before.context.now
        self.context.hosts = Hosts(self.context.name, self.context.uplink, self.context.connections)
        self.socket = FakeSocket()
        self.connection = WebSocketConnection.resume(self.context, self.state, self.socket)
