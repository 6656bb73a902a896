"""A WebSocket whose application lives in a worker, without a worker and without I/O."""

from __future__ import annotations

from typing import Any

from channel_layer.messages import RESUME
from interface_server.bridge.hosts import Hosts
from interface_server.websocket.connection import WebSocketConnection
from interface_server.websocket.lease import Lease
from tests.interface_server.fakes import FakeSocket, QuietContext, scope

WORKER, OTHER = "worker.a!1", "worker.b!1"


class HostedCase:
    """A connection whose handshake a worker has taken, and which its application has accepted unless told not to."""

    def __init__(self, accept: bool = True, taken: bool = True, **options: Any) -> None:
        self.context = QuietContext(**options)
        self.context.now = 1.0
        self.context.hosts = Hosts(self.context.name, self.context.uplink, self.context.connections)
        self.socket = FakeSocket()
        self.connection = WebSocketConnection(self.context, scope("websocket", path="/p"), self.socket)
        self.connection.open()
        if taken:
            self.say({}, lease=WORKER)
        if taken and accept:
            self.say({"accept": True})
            self.say({}, turn=1, checkpoint=b"first")
            self.socket.calls.clear()
        self.context.records.entries.clear()

    @property
    def lease(self) -> Lease:
        assert self.connection._lease is not None
        return self.connection._lease

    @property
    def epoch(self) -> int:
        return self.connection._lease.epoch if self.connection._lease is not None else 0

    def say(self, message: dict[str, Any], **headers: Any) -> None:
        """The worker that has the instance says something."""
        self.connection.deliver(message, {"epoch": self.epoch, **headers})  # type: ignore[typeddict-item]

    def turns(self, worker: str = WORKER) -> list[Any]:
        """Numbers of the events that were sent to a worker."""
        entries = [entry for entry in self.context.records.entries if entry.item.target == worker]
        return [entry.item.headers["turn"] for entry in entries if entry.item.headers]

    def events(self, worker: str = WORKER) -> list[dict[str, Any]]:
        return self.context.messages_on(worker)

    def resumes(self) -> list[dict[str, Any]]:
        return self.context.messages_on(RESUME)

    def store(self) -> None:
        """All that was put is stored."""
        for entry in self.context.records.entries:
            entry.stored_at = entry.stored_at or self.context.now
