"""Events for the applications behind connections, and messages of the layer that many of them get."""

from __future__ import annotations

import logging
from typing import Protocol

from channel_layer.delivery import SHARED, Headers, Message, Outgoing
from channel_layer.exceptions import ChannelLayerError, MessageTooLarge
from channel_layer.layer import ChannelLayer
from channel_layer.tracing import Turn

from .uplink import Entry, Uplink

logger = logging.getLogger("interface_server.websocket")


class Event:
    """An ASGI event on its way to the application.

    Attributes:
        turn: its number.
        content: the event.
        size: bytes of a frame.
        entry: the queued message that carries it, once it is under way.
        span: until the application is done with it, if there is one.
    """

    __slots__ = ("content", "entry", "since", "size", "span", "turn")

    def __init__(self, turn: int, content: Message, size: int) -> None:
        self.turn = turn
        self.content = content
        self.size = size
        self.entry: Entry | None = None
        self.since = 0.0
        self.span: Turn | None = None


class Member(Protocol):
    """The lease of a connection, as far as a broadcast knows it."""

    def unsent(self, event: Event) -> None:
        """An event that was to go with a broadcast did not."""

    def drop(self, item: Outgoing) -> None:
        """Forget the event that a message carries: it was not stored, or nobody knows."""


class Broadcast:
    """A message to a group on its way to the applications of several connections: one message for each worker.

    Args:
        layer: any channel layer.
        uplink: takes what is sent.
        now: the event loop's time.
        content: the event.
        headers: to send it with.
    """

    def __init__(
        self, layer: ChannelLayer, uplink: Uplink, now: float, content: Message, headers: Headers | None = None
    ) -> None:
        self.content = content
        self._headers = headers
        self._layer = layer
        self._uplink = uplink
        self._now = now
        self._parts: dict[str, Part] = {}

    def add(self, worker: str, lease: Member, event: Event) -> None:
        """Have it go to the instance that a worker has."""
        process, _, local = worker.partition("!")
        part = self._parts.get(process)
        if part is None:
            part = self._parts[process] = Part()
        part.members.append((lease, event))
        part.to.append((local, event.turn))

    def send(self) -> None:
        """Send it to those that were added, before anything happens to their connections."""
        parts, self._parts = self._parts, {}
        for process, part in parts.items():
            entry: Entry | None = None
            try:
                item = self._layer.prepare(f"{process}!{SHARED}", {"event": self.content, "to": part.to}, self._headers)
                entry = self._uplink.put(item, part, patient=True, kept=True)
            except MessageTooLarge:
                pass  # for all of them together; it goes to each alone
            for lease, event in part.members:
                if entry is None:
                    lease.unsent(event)
                else:
                    event.entry, event.since = entry, self._now


class Part:
    """Those of the connections whose instances one worker has. The uplink tells it if the message was not stored.

    Attributes:
        members: their leases, each with its event.
        to: of each, in the same order, the local part of the instance's channel and the number of the event.
    """

    def __init__(self) -> None:
        self.members: list[tuple[Member, Event]] = []
        self.to: list[tuple[str, int]] = []

    def taken_back(self) -> None:
        """The message was withdrawn before it was written: the event goes to each application alone."""
        for lease, event in self.members:
            lease.unsent(event)

    def sent(self, item: Outgoing) -> None:
        """See `SendListener.sent`."""

    def refused(self, item: Outgoing, error: ChannelLayerError) -> None:
        """See `SendListener.refused`."""
        logger.warning("a message to a group may be lost for %d applications: %s", len(self.members), error)
        for lease, _ in self.members:
            lease.drop(item)
