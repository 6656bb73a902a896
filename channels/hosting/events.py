"""Events that an application sends on its WebSocket, as the messages that its connection takes (ASGI, "WebSocket")."""

from __future__ import annotations

from typing import Any

from channel_layer.delivery import Message
from interface_server.bridge.replies import MOST_REASON_BYTES, Reply, accepting_fields, denial_of
from workers.instances import Event

ACCEPT, SEND, CLOSE = "websocket.accept", "websocket.send", "websocket.close"
DENIAL_START, DENIAL_BODY = "websocket.http.response.start", "websocket.http.response.body"

MOST_BYTES = 1_048_576
"""The size of the body of a response that denies a handshake."""

HANDSHAKE = frozenset({ACCEPT, CLOSE, DENIAL_START})
DENIAL = frozenset({DENIAL_BODY})
OPEN = frozenset({SEND, CLOSE})
ANY = HANDSHAKE | DENIAL | OPEN
"""Types of the events that an application may send: as an answer to the handshake, to go on with a response, on an open
connection; and if it is not known how far its connection is, or nobody listens any more."""


def unexpected(event: Event, expected: frozenset[str]) -> ValueError:
    """The error of an application that sends something that it must not send, or not yet."""
    kind = event.get("type")
    if kind is None:
        return ValueError("the application has sent an event without a 'type'")
    if kind == SEND:
        return ValueError("the socket has not been accepted, so nothing can be sent over it; accept it first")
    known = ", ".join(sorted(expected))
    return ValueError(f"the application has sent {kind!r}, where it can send {known}")


def frame_of(event: Event) -> Message:
    """The message for ``websocket.send``; raises `ValueError` for an event without a frame, or with two."""
    text, data = event.get("text"), event.get("bytes")
    if text is not None and data is None:
        if isinstance(text, str):
            return {"text": text}
        raise ValueError(f"'text' of {SEND} is {type(text).__name__}, it must be str")
    if data is None:
        raise ValueError(f"{SEND} has neither 'text' nor 'bytes'; give it one of them")
    if text:
        raise ValueError(f"{SEND} has both 'text' and 'bytes'; send two events")
    if isinstance(data, (bytes, bytearray, memoryview)):
        return {"bytes": bytes(data)}
    raise ValueError(f"'bytes' of {SEND} is {type(data).__name__}, it must be bytes")


def acceptance_of(event: Event) -> Message:
    """The message for ``websocket.accept``; raises `ValueError` if it cannot be carried out."""
    message: dict[str, Any] = {"accept": True}
    if event.get("subprotocol") is not None:
        message["subprotocol"] = event["subprotocol"]
    if event.get("headers"):
        message["headers"] = _pairs(event["headers"])
    Reply(message)
    accepting_fields(message)
    return message


def close_of(event: Event, is_open: bool) -> Message:
    """The message for ``websocket.close``; raises `ValueError` for a code that no close frame can have.

    Args:
        event: the event.
        is_open: whether there will be a close frame. If not, the handshake is denied, with any code.
    """
    if not is_open:
        return {"close": 1000}
    message: dict[str, Any] = {"close": event.get("code") or 1000}
    if event.get("reason"):
        message["reason"] = event["reason"].encode()[:MOST_REASON_BYTES].decode(errors="ignore")
    Reply(message)
    return message


class Denial:
    """The response by which an application denies a handshake ("WebSocket Denial Response"), while it comes.

    Args:
        start: its ``websocket.http.response.start``.

    Raises:
        ValueError: it cannot go out.
    """

    def __init__(self, start: Event) -> None:
        self._message: dict[str, Any] = {"accept": False, "status": start.get("status")}
        if start.get("headers"):
            self._message["headers"] = _pairs(start["headers"])
        self._body = bytearray()
        if denial_of(self._message) is None:
            raise ValueError(f"{DENIAL_START} has no 'status'")

    def add(self, part: Event) -> Message | None:
        """Take a part of the body; returns the message once it is complete.

        Raises:
            ValueError: the body is larger than a response to a handshake may be.
        """
        self._body += part.get("body", b"")
        if len(self._body) > MOST_BYTES:
            raise ValueError(f"the response to a handshake that is denied holds {MOST_BYTES} bytes at most")
        return None if part.get("more_body") else {**self._message, "content": bytes(self._body)}


def _pairs(fields: Any) -> list[list[bytes]]:
    return [[bytes(part) if isinstance(part, (bytearray, memoryview)) else part for part in pair] for pair in fields]
