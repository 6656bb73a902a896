"""Messages on their way into a layer and out of it, in the batch forms of the contract."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias, TypedDict, final

LAST_ORDER: Final = 2**31 - 1
"""``order`` of a ``websocket.disconnect`` whose server disappeared: nobody knows how many frames came before."""

SHARED: Final = "shared"
"""Local part of the channels, of an interface server and of a worker, that take one message for several connections."""

ALIVE: Final = "workers"
"""Local part of the channel of an interface server that takes the heartbeats of workers."""

Message: TypeAlias = dict[str, Any]
"""Content of a received message: text keys, and values of the types that ``channel_layer/codec.py`` carries.

Any, because applications read their own messages from it; `channel_layer.messages` has the types of all others.
"""

Content: TypeAlias = Mapping[str, object]
"""Content of a message to send: a dict, or one of the types of `channel_layer.messages`."""


class Headers(TypedDict, total=False):
    """Facts about a message that travel beside its content, never inside it.

    On the way to a worker ``turn`` says that the sender waits until this message was dealt with, and
    ``state`` is what the sender keeps for its reply channel. The worker answers on the reply channel
    with the same ``turn`` (it is over), with ``state`` if it changed (the keys that did, ``None`` for one that is
    gone), and with ``failed`` set if the consumer raised or the message was dropped after too many tries:
    what it was to send will not come. Whoever deals with another message that has this reply channel may ``ask`` for
    the state, naming the channel for the answer: a message with ``state``, or ``{"closed": True}``; and may send
    changed ``state`` alone. A message with ``flow`` but no turn is answered in case of
    failure only. While a turn goes on, a worker says ``begun`` with its number once the consumer has run for
    ``seconds``, about one, naming the ``worker`` and the ``consumer``, and ``later`` with its number when the consumer
    asked for the message to be delivered again. ``tries`` counts how often a consumer has asked for that.
    ``ends`` says that consumers want to know of the end of every request.
    ``root_path`` is where the application is mounted, for messages of a WebSocket that do not say so themselves.
    ``user`` is the name of the user of a WebSocket, which a worker tells, for operators, when it has come to know it.

    A connection whose application lives in a worker (see `workers.instances`) knows it by ``epoch``, the number of
    times that it has changed hands, which is part of every message of the worker; ``lease`` is the channel to which
    events of the connection go from now on, or ``None`` if the worker has let go of it. ``turn`` then says that all
    events up to that number have been dealt with, ``checkpoint`` brings what is needed to go on in another worker
    (``None`` if it cannot be done), ``again`` that the application has to begin anew there, ``at_once`` that it has to
    go on there without waiting for an event, ``consumer`` the name of what runs, and ``ended`` that it has returned, or
    ``failed``.

    ``trace`` is the ``traceparent`` (W3C Trace Context) of the span that a message belongs to, and ``traced_at`` when
    it was prepared, in seconds of `time.time`; only if tracing is on, see ``channel_layer.tracing``.

    A request with ``flow`` comes from somebody who reports progress. The first message of a response names
    with ``flow`` where to: ``{"written": bytes of the response taken over so far}`` and at last
    ``{"closed": True}`` are sent there. ``read``, alone, says how many bytes of a request's body have been read.
    """

    turn: int
    state: Mapping[str, Any] | None  # of bytes, and of None on the way back
    ask: str
    failed: bool
    ends: bool
    begun: int
    seconds: float
    worker: str
    consumer: str
    user: str
    later: int
    tries: int
    root_path: str
    flow: str
    read: int
    epoch: int
    lease: str | None
    checkpoint: bytes | None
    again: bool
    at_once: bool
    ended: bool
    trace: str
    traced_at: float


class LastWill:
    """Message to send for a process-specific channel if its process disappears without a word.

    It rides with a message, as `Outgoing.last_will`, and takes effect when that message is stored and not before.

    Attributes:
        channel: the full name of the channel, one of this process's own.
        message: what is to be sent; ``None`` withdraws the last will, because the message it rides with says the same.
            That message goes to the channel that the last will was meant for.
        claims: withdraw it, or drop the message if there is nothing to withdraw. So a message whose fate nobody knows
            can be sent again and comes once.
    """

    __slots__ = ("channel", "claims", "message")

    def __init__(self, channel: str, message: Outgoing | None, claims: bool = False) -> None:
        self.channel = channel
        self.message = message
        self.claims = claims


@final
class LargeBody:
    """A message whose encoded form ends in a large string, in two pieces: the string is copied when it is written.

    Attributes:
        head: all that stands before the string.
        data: the string's bytes.
    """

    __slots__ = ("data", "head")

    def __init__(self, head: bytes, data: bytes) -> None:
        self.head = head
        self.data = data

    def __len__(self) -> int:
        return len(self.head) + len(self.data)

    def __bytes__(self) -> bytes:
        return b"".join((self.head, self.data))


Body: TypeAlias = bytes | LargeBody
"""An encoded message. `bytes` joins a large one, and ``codec.frame`` of this package takes either."""


class Outgoing:
    """A message on its way into a layer, already encoded.

    Made by `ChannelLayer.prepare`, so that a sender learns of a bad message where it sends it and may
    change its dict afterwards.

    Attributes:
        target: name of a channel, or of a group if ``group`` is true.
        body: the message as ``channel_layer.codec.pack_pieces`` encodes it.
        headers: see `Headers`.
        group: whether ``target`` is a group.
        last_will: see `LastWill`; only for layers that have the extension ``last_wills``. With an empty body there is
            no message, only the last will.
    """

    __slots__ = ("body", "group", "headers", "last_will", "target")

    def __init__(self, target: str, body: Body, headers: Headers | None = None, group: bool = False) -> None:
        self.target = target
        self.body = body
        self.headers = headers
        self.group = group
        self.last_will: LastWill | None = None

    def __repr__(self) -> str:
        kind = "group" if self.group else "channel"
        return f"<Outgoing {kind} {self.target} {len(self.body)} bytes>"


class Delivery:
    """A message that came out of a layer.

    Attributes:
        channel: the full channel name; for a message to a group the name up to and including ``!``.
        message: the content. It belongs to the receiver, who may change it.
        headers: see `Headers`; ``None`` if there are none.
        members: ``None`` for a message to one channel. For a message to a group, the local parts of
            those members of the group that belong to ``channel``, as they were when it was sent.
        expires: when it would have expired, for the layer alone, on a clock of its own; ``None`` if it does not say.
        server: for the layer alone, which of its servers it came from.
        taken_at: when it came, by `time.monotonic`, if its receiver wants to know; else 0.
    """

    __slots__ = ("channel", "expires", "headers", "members", "message", "server", "taken_at")

    def __init__(
        self,
        channel: str,
        message: Message,
        headers: Headers | None = None,
        members: Collection[str] | None = None,
        expires: float | None = None,
    ) -> None:
        self.channel = channel
        self.message = message
        self.headers = headers
        self.members = members
        self.expires = expires
        self.server = 0
        self.taken_at = 0.0

    def __repr__(self) -> str:
        to = "" if self.members is None else f" to {len(self.members)} members"
        return f"<Delivery on {self.channel}{to}: {sorted(self.message)}>"
