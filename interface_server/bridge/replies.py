"""Answers of a consumer on a WebSocket's reply channel (ASGI 1 draft, "WebSocket: Send/Close/Accept")."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import NamedTuple, TypeVar

from channel_layer.delivery import Content

from ..wire.responses import BadResponse, Head, content_of, handshake_fields
from ..wire.websocket_frames import LARGE, frame_head, message_frame

logger = logging.getLogger("interface_server.websocket")

NORMAL_CLOSURE = 1000
MOST_REASON_BYTES = 123
"""Of a close frame's 125 bytes two are its code (RFC 6455, section 5.5.1)."""

KNOWN_KEYS = ("accept", "text", "bytes", "close", "reason", "subprotocol", "headers", "status", "content")
"""Keys of a reply to a WebSocket."""

_OF_RESPONSES = "more_content"

_CONTENT = frozenset({("text", str), ("bytes", bytes)})
"""Keys that make up a whole reply, and the types of their values."""

T = TypeVar("T")

_RESERVED_CODES = frozenset({1004, 1005, 1006, 1015})


class BadReply(ValueError):
    """A reply that cannot be carried out; the text says what is wrong with it."""


class Payload:
    """One message for WebSocket clients, encoded at most once however many clients get it.

    Attributes:
        frame: a whole unmasked WebSocket frame (RFC 6455, section 5.2), once `encode` has made it.
    """

    __slots__ = ("_pieces", "data", "frame", "is_text")

    def __init__(self, data: str | bytes) -> None:
        self.data = data
        self.is_text = isinstance(data, str)
        self.frame: bytes | None = None
        self._pieces: tuple[bytes, bytes] | None = None

    @property
    def is_large(self) -> bool:
        """True if it is better written in `pieces` than as one frame."""
        return len(self.data) >= LARGE

    @property
    def raw(self) -> bytes:
        """The content as bytes, text in UTF-8."""
        return self.data.encode("utf-8", "replace") if isinstance(self.data, str) else self.data

    def encode(self) -> bytes:
        """Make the frame, and keep it."""
        self.frame = message_frame(self.is_text, self.raw)
        return self.frame

    @property
    def pieces(self) -> tuple[bytes, bytes]:
        """The same frame as its head and its content, which need no copy then; for large ones."""
        if self._pieces is None:
            raw = self.raw
            self._pieces = frame_head(self.is_text, len(raw)), raw
        return self._pieces


class Reply:
    """A checked reply.

    Attributes:
        message: the reply as it was sent.
        accept: whether to accept the handshake; ``None`` if the reply does not say.
        payload: what to send.
        close: the code to close with.
        reason: what the client is told with it.
        subprotocol: the one to agree on with the client, if the reply accepts.
        frame: of a reply that is no more than one message of moderate size, that message's; see `encode`.
    """

    __slots__ = ("accept", "close", "frame", "message", "payload", "reason", "subprotocol")

    accept: bool | None
    payload: Payload | None
    close: int | None
    subprotocol: str | None

    def __init__(self, message: Content) -> None:
        self.message = message
        self.frame = b""
        if len(message) == 1:
            ((key, value),) = message.items()
            if (key, type(value)) in _CONTENT:  # as nearly always: there is nothing else to check
                self.accept = self.close = self.subprotocol = None
                self.reason = ""
                self.payload = Payload(value)  # type: ignore[arg-type]  # its type was just looked up
                return
        self.accept = _typed(message, "accept", bool)
        self.payload = _payload(message)
        self.close = _close_code(message.get("close"))
        self.reason = "" if self.close is None else _reason(message)
        self.subprotocol = _typed(message, "subprotocol", str)
        if self.is_empty and message and message.keys().isdisjoint((*KNOWN_KEYS, _OF_RESPONSES)):
            unknown = ", ".join(map(repr, message))
            raise BadReply(f"nothing known in it, only {unknown}; the keys of a reply are {', '.join(KNOWN_KEYS)}")

    def encode(self) -> bytes:
        """Make `frame`, and keep it; empty if there is more to do, or a message that is better written in pieces."""
        payload = self.payload
        if payload is not None and self.close is None and not payload.is_large:
            self.frame = payload.frame or payload.encode()
        return self.frame

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to do."""
        return self.accept is None and self.payload is None and self.close is None


class Denial(NamedTuple):
    """The response to a handshake that is refused with one of its own."""

    head: Head
    content: bytes


def denial_of(message: Content) -> Denial | None:
    """The response that a reply refuses a handshake with, if it has one of its own.

    Raises:
        BadReply: it must not go out.
    """
    if message.get("status") is None:
        return None
    try:
        head, content = Head(message), content_of(message)
    except BadResponse as error:
        raise BadReply(str(error)) from error
    head.length = len(content)
    return Denial(head, content)


def accepting_fields(message: Content) -> list[tuple[bytes, bytes]]:
    """The fields that a reply adds to the answer to a handshake that it accepts.

    Raises:
        BadReply: one must not go out.
    """
    if message.get("headers") is None:
        return []
    try:
        return handshake_fields(message["headers"])
    except BadResponse as error:
        raise BadReply(str(error)) from error


def refuses(message: Content) -> bool:
    """True if a reply refuses a handshake: it says so, or it closes and has nothing to send first."""
    if message.get("accept") is False:
        return True
    return bool(message.get("close")) and not any(message.get(key) for key in ("accept", "text", "bytes"))


def agreed_subprotocol(chosen: str | None, offered: Collection[str], spoken: tuple[str, ...]) -> str | None:
    """The subprotocol of a connection: what a consumer chose, or the first one spoken here that the client offered."""
    if chosen is not None:
        if chosen in offered:
            return chosen
        logger.error("a consumer chose the subprotocol %r, which the client did not offer", chosen)
    return next((name for name in spoken if name in offered), None)


def _payload(message: Content) -> Payload | None:
    text, data = _typed(message, "text", str), _typed(message, "bytes", bytes)
    if text and data:
        raise BadReply("it holds both text and bytes; send two messages")
    content = text or data
    if not content:
        content = text if text is not None else data
    return None if content is None else Payload(content)


def _close_code(value: object) -> int | None:
    if value is None or value is False or value == 0:
        return None
    if value is True:
        return NORMAL_CLOSURE
    if isinstance(value, int) and (1000 <= value <= 1014 or 3000 <= value <= 4999) and value not in _RESERVED_CODES:
        return value
    raise BadReply(f"{value!r} is not a close code; use True, 1000 or 3000 to 4999")


def _reason(message: Content) -> str:
    reason = _typed(message, "reason", str) or ""
    if len(reason.encode("utf-8", "replace")) > MOST_REASON_BYTES:
        raise BadReply(f"'reason' is longer than {MOST_REASON_BYTES} bytes, the room of a close frame")
    return reason


def _typed(message: Content, key: str, kind: type[T]) -> T | None:
    value = message.get(key)
    if value is None or isinstance(value, kind):
        return value
    raise BadReply(f"{key!r} is {type(value).__name__}, it must be {kind.__name__}")
