"""The calls that the shared parts of a process make on any of its connections."""

from __future__ import annotations

import enum
from typing import Protocol, TypedDict

from channel_layer.delivery import Content, Headers, Message

from .broadcast import Broadcast
from .replies import Reply


class Kind(enum.Enum):
    """The kinds of connections that an interface server has."""

    REQUEST = "request"
    WEBSOCKET = "WebSocket"


class LastWillOwner(Protocol):
    """A WebSocket that consumers know of, and whose end they hear of even if this process is killed.

    Attributes:
        channel: its reply channel.
        path: of its handshake.
    """

    channel: str
    path: str

    @property
    def is_handshake(self) -> bool:
        """True until a consumer has answered its handshake."""

    def bequeath(self) -> Content | None:
        """Content of its last will with which a worker makes its application; asked for only when that is left."""

    def disown(self) -> None:
        """Close it without a message: another process has sent its ``websocket.disconnect``."""


class ConnectionFacts(TypedDict):
    """The part of an answer to an operator that a connection gives, in a list of many.

    Attributes:
        path: with which it was opened, `MOST_PATH` characters of it.
        client: address and port, as the trusted proxies give them; ``None`` if unknown.
        age: seconds.
        state: ``handshake``, ``open`` or ``closed`` (and not all is said to consumers), or that of a request.
        user: name of the user, once a worker has told it.
        worker: name of the worker that has its application, or is known to be at its turn.
    """

    path: str
    client: str | None
    age: float
    state: str
    user: str | None
    worker: str | None


class TurnFacts(TypedDict):
    """A turn that is under way, or an event that an application has.

    Attributes:
        number: of the turn.
        seconds: since it was to be sent.
        stored: whether the layer has it; it may wait there.
        consumer: name, once the worker has told it, which it does after a second.
    """

    number: int
    seconds: float
    stored: bool
    consumer: str | None


class Details(TypedDict):
    """Facts that an operator sees of one connection besides.

    Attributes:
        consumer: name of the application's consumer, or of the consumer of the turn.
        turn: the one under way.
        outbox_bytes: bytes that wait for the client.
        read_ahead_bytes: bytes of frames that wait for their turn.
        frames: number of frames that the client has sent so far; ``None`` for a request.
        events: the last ones, as (seconds after 1970, word, bytes); ``None`` if none are kept yet, which they are from
            now on.
    """

    consumer: str | None
    turn: TurnFacts | None
    outbox_bytes: int
    read_ahead_bytes: int
    frames: int | None
    events: list[tuple[float, str, int]] | None


class Connection(Protocol):
    """One HTTP exchange or one WebSocket. No call blocks.

    Attributes:
        kind: which of the two.
        path: with which it was opened.
        user: name of its user, if a worker has told it.
        last_will: the connection itself if it has a last will, else ``None``.
    """

    kind: Kind

    @property
    def path(self) -> str: ...

    @property
    def user(self) -> str | None: ...

    @property
    def last_will(self) -> LastWillOwner | None: ...

    def deliver(self, message: Message, headers: Headers | None) -> None:
        """Take a message to this connection alone."""

    def apply(self, reply: Reply) -> None:
        """Take a reply that went to a group; it is shared with other members."""

    def take_shared(self, broadcast: Broadcast) -> None:
        """Take a message of a group with a ``type``, for the application behind this connection."""

    def hear_shared(self, reply: Reply, epoch: int, turn: int) -> None:
        """Take what the application behind this connection says in the same words as others.

        Args:
            epoch, turn: as in `channel_layer.delivery.Headers`; a turn of 0 says nothing.
        """

    def has_moved_on(self, epoch: int) -> bool:
        """True if the application behind this connection has changed hands more often than so many times."""

    def tick(self, now: float) -> None:
        """Check the deadlines; ``now`` is the event loop's time."""

    def stop(self, reconnect: int | None = None) -> None:
        """Prepare for the end of the server; what is under way may finish.

        Args:
            reconnect: milliseconds after which the client of a WebSocket is to connect again: another server listens.
        """

    def end_stream(self) -> bool:
        """Cut a response of unknown length that is still produced; returns whether there was one."""

    def is_deserted(self, seconds: float) -> bool:
        """True if it waits for a worker and no worker has taken a message off its channel for so many seconds."""

    def release(self) -> None:
        """Stop waiting for consumers."""

    def facts(self) -> ConnectionFacts:
        """Describe it in a few words, for a list of many."""

    def details(self) -> Details:
        """Describe what it is at; from then on it keeps its last events."""

    def close_for_operator(self, code: int, reason: str) -> bool:
        """Close a WebSocket, or refuse its handshake with 403; returns whether there was one to close."""
