"""Checks of the HTTP response that a consumer sent, before anything of it goes out."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from channel_layer.delivery import Content

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z").match
_DIGITS = re.compile(rb"[0-9]{1,18}\Z").match

CONTROLS = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])
"""Control characters, which no field value holds, but for the tab (RFC 9110, section 5.5)."""

OURS = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te", b"trailer"})
"""Fields about the connection and its framing, which belong to the server (RFC 9110, section 7.6.1)."""

_LENGTH = b"content-length"
_READ = OURS | {_LENGTH, b"date"}
"""Fields that `Head` does more with than send them."""

_MOST_KNOWN = 1_024
_LONGEST_KNOWN = 256
"""Bytes up to which a checked field is remembered: most responses of a project have the same fields."""


class BadResponse(ValueError):
    """A response that must not go out; the text says what is wrong with it."""


class ResponseCut(ConnectionAbortedError):
    """A response cannot be completed; raised so that a server that hosts us closes the connection."""


class Field(NamedTuple):
    """One checked field of a response.

    Attributes:
        name: as the consumer spelled it.
        lowered: the same in lower case.
        line: the field on the wire.
    """

    name: bytes
    value: bytes
    lowered: bytes
    line: bytes

    @classmethod
    def of(cls, name: bytes, value: bytes) -> Field:
        """A field that needs no check."""
        return cls(name, value, name.lower(), b"%b: %b\r\n" % (name, value))


class Head:
    """Status and headers of a response.

    Attributes:
        status: a final status code.
        fields: what to send, without content length and without those in `OURS`.
        length: the body's length, if the consumer gave it.
        close: whether the consumer asked to close the connection.
        has_date: whether there is a Date field.
    """

    __slots__ = ("close", "fields", "has_date", "length", "status")

    def __init__(self, message: Content) -> None:
        self.status = _status(message.get("status"))
        self.fields: list[Field] = []
        self.length: int | None = None
        self.close = False
        self.has_date = False
        headers = message.get("headers") or ()
        if not isinstance(headers, (list, tuple)):
            raise BadResponse(f"'headers' is {type(headers).__name__}, it must be a list of [name, value]")
        for item in headers:
            field = _field(item)
            if field.lowered in _READ:
                self._read(field)
            else:
                self.fields.append(field)

    def bodiless(self, method: str) -> bool:
        """True if no content follows this head (RFC 9110, section 6.4.1)."""
        return method == "HEAD" or self.status in (204, 304)

    def _read(self, field: Field) -> None:
        lowered, value = field.lowered, field.value
        if lowered == _LENGTH:
            if not _DIGITS(value):
                raise BadResponse(f"content length {value!r} is not a number")
            self.length = int(value)
        elif lowered == b"connection":
            self.close = self.close or b"close" in value.lower()
        elif lowered == b"date":
            self.has_date = True
            self.fields.append(field)


def handshake_fields(fields: object) -> list[tuple[bytes, bytes]]:
    """The checked fields that an application adds to the answer to a WebSocket's handshake.

    Raises:
        BadResponse: one cannot go out, or is the server's own.
    """
    if not isinstance(fields, (list, tuple)):
        raise BadResponse(f"'headers' is {type(fields).__name__}, it must be a list of [name, value]")
    checked = [_field(item) for item in fields]
    for name, _, lowered, _ in checked:
        if lowered == b"sec-websocket-protocol":
            raise BadResponse("the header Sec-WebSocket-Protocol is the server's own; give a subprotocol instead")
        if lowered in OURS or lowered == _LENGTH or lowered.startswith(b"sec-websocket-"):
            raise BadResponse(f"of a handshake this header is the server's own: {name.decode()!r}; leave it out")
    return [(field.name, field.value) for field in checked]


def is_push(message: Content) -> bool:
    """True if a message asks for a server push (ASGI 1 draft, "Server Push"), which no client takes any more."""
    return "request" in message and "status" not in message


def content_of(message: Content) -> bytes:
    """The body bytes of a response or of one of its chunks.

    Raises:
        BadResponse: they are not bytes.
    """
    content = message.get("content") or b""
    if type(content) is not bytes:
        raise BadResponse(f"'content' is {type(content).__name__}, it must be bytes")
    return content


def beginning_of(message: Content, method: str) -> tuple[Head, bytes, bool]:
    """The checked beginning of a response to a request with this method.

    Returns:
        The head, the first content, and whether more follows.

    Raises:
        BadResponse: it must not go out; a whole response has another length than its head says, for example.
    """
    head, content, more = Head(message), content_of(message), bool(message.get("more_content"))
    if not more and head.length is not None and head.length != len(content) and not head.bodiless(method):
        raise BadResponse(f"its content length says {head.length}, its content has {len(content)} bytes")
    return head, content, more


def _status(value: object) -> int:
    if type(value) is not int or not 200 <= value <= 599:
        raise BadResponse(f"status {value!r} is not an HTTP status from 200 to 599")
    return value


def _field(item: object) -> Field:
    if not isinstance(item, (list, tuple)) or len(item) != 2:
        raise BadResponse(f"header {item!r} is not a pair of name and value")
    name, value = item
    if type(name) is not bytes or type(value) is not bytes:
        name, value = _as_bytes(name), _as_bytes(value)
    return _known(name, value) if len(name) + len(value) <= _LONGEST_KNOWN else _checked(name, value)


def _checked(name: bytes, value: bytes) -> Field:
    if not _NAME(name):
        raise BadResponse(f"header name {name!r} is not allowed")
    if value.translate(None, CONTROLS) != value:
        raise BadResponse(f"header {name!r} holds a control character in {value!r}")
    return Field.of(name, value)


_known = lru_cache(_MOST_KNOWN)(_checked)


def _as_bytes(part: object) -> bytes:
    if isinstance(part, str):
        try:
            return part.encode("latin-1")
        except UnicodeEncodeError as error:
            raise BadResponse(f"header text {part!r} has characters outside of Latin-1; encode it to bytes") from error
    if type(part) is not bytes:
        raise BadResponse(f"header part {part!r} is {type(part).__name__}, it must be bytes or text")
    return part
