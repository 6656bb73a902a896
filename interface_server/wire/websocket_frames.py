"""The frames nearly all traffic consists of, at a fraction of the price of a complete parser. No I/O.

`websockets` checks everything RFC 6455 asks for; what is written here is only the case in which there
is nothing to check but a few bytes: one whole message in one masked frame, which is alone in one read, or so
large that it comes in several. Whatever looks different in any way is left to the library. See
docs/performance.md for what that is worth.
"""

from __future__ import annotations

import struct

from websockets.frames import apply_mask  # type: ignore[attr-defined]  # in C where the library has it built

TEXT = 0x1
BINARY = 0x2
PING = 0x9
PONG = 0xA

GOING_AWAY = 1001
ABNORMAL = 1006
TOO_BIG = 1009
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012
TRY_AGAIN_LATER = 1013

_FIN = 0x80
_MASKED = 0x80
_LENGTH_16 = 126
_LENGTH_64 = 127
_WHOLE_TEXT = _FIN | TEXT
_WHOLE_BINARY = _FIN | BINARY
_WHOLE_PING = _FIN | PING
_WHOLE_PONG = _FIN | PONG

LARGE = 16_384
"""Bytes of a payload from which on a frame is gathered here when it comes in several reads, and sent in pieces."""

_MOST_PIECES = 256
"""Reads that are kept as they came, so that a client which sends byte by byte takes no more memory than its message."""

_head_16 = struct.Struct("!BBH").pack
_head_64 = struct.Struct("!BBQ").pack


def whole_message(data: bytes, max_size: int | None) -> tuple[bool, bytes] | None:
    """A flag for text and the payload, if ``data`` is exactly one unfragmented data frame from a client.

    Anything else is ``None``: several frames, a part of one, control frames, fragments, reserved bits,
    no mask, 64 KiB and more, a payload of more than ``max_size`` bytes (RFC 6455, section 5.2). Only
    to be asked where a frame may begin, and while no fragmented message is unfinished.
    """
    size = len(data) - 6
    if size < 0 or data[0] not in (_WHOLE_TEXT, _WHOLE_BINARY):
        return None
    start = 6
    if size >= _LENGTH_16:
        size, start = size - 2, 8
        if data[1] != _MASKED | _LENGTH_16 or data[2] << 8 | data[3] != size:
            return None
    elif data[1] != _MASKED | size:
        return None
    if max_size is not None and size > max_size:
        return None
    return data[0] == _WHOLE_TEXT, apply_mask(data[start:], data[start - 4 : start])


class LargeMessage:
    """One unfragmented data frame from a client, gathered from the reads that it comes in.

    The library would copy it four times on the way: into a buffer that grows, out of it, and to unmask it.

    Attributes:
        is_text: whether it is a text frame.
        received: bytes of the frame that have come, its head included.
    """

    __slots__ = ("_mask", "_pieces", "_size", "is_text", "received")

    def __init__(self, is_text: bool, head_size: int, size: int, mask: bytes) -> None:
        self.is_text = is_text
        self.received = head_size
        self._size = head_size + size
        self._mask = mask
        self._pieces: list[bytes | memoryview] = []

    @classmethod
    def begin(cls, data: bytes, max_size: int | None) -> LargeMessage | None:
        """Find the head of such a frame at the beginning of ``data``, which `add` is then to get without that head.

        Anything else is ``None``: what `whole_message` refuses, a payload of fewer than `LARGE` bytes or of more than
        ``max_size``, a longer head than the payload needs. It may be asked where `whole_message` may be.
        """
        if len(data) < 14 or data[0] not in (_WHOLE_TEXT, _WHOLE_BINARY):
            return None
        if data[1] == _MASKED | _LENGTH_64:
            size, start = int.from_bytes(data[2:10]), 14
            if size < 65_536:
                return None
        elif data[1] == _MASKED | _LENGTH_16:
            size, start = data[2] << 8 | data[3], 8
            if size < LARGE:
                return None
        else:
            return None
        if max_size is not None and size > max_size:
            return None
        return cls(data[0] == _WHOLE_TEXT, start, size, data[start - 4 : start])

    @property
    def is_complete(self) -> bool:
        """True once all of it has come."""
        return self.received == self._size

    def add(self, data: bytes, start: int = 0) -> bytes:
        """Take bytes of the payload, those from ``start`` on; returns what comes behind the frame."""
        end = start + self._size - self.received
        piece = memoryview(data)[start:end] if start or end < len(data) else data
        self._pieces.append(piece)
        self.received += len(piece)
        if len(self._pieces) > _MOST_PIECES:
            self._pieces = [b"".join(self._pieces)]
        return data[end:]

    def payload(self) -> bytes:
        """The payload, without its mask."""
        return apply_mask(b"".join(self._pieces), self._mask)


def whole_pong(data: bytes) -> bytes | None:
    """The payload, if ``data`` is exactly one pong from a client (RFC 6455, section 5.5.3).

    Anything else is ``None``; it is asked where `whole_message` may be.
    """
    size = len(data) - 6
    if not 0 <= size < _LENGTH_16 or data[0] != _WHOLE_PONG or data[1] != _MASKED | size:
        return None
    return apply_mask(data[6:], data[2:6])


def ping_frame(payload: bytes) -> bytes:
    """A ping, as a server sends it; its payload has at most 125 bytes (RFC 6455, section 5.5)."""
    return b"%c%c%b" % (_WHOLE_PING, len(payload), payload)


def message_frame(is_text: bool, payload: bytes) -> bytes:
    """A whole unmasked frame, as a server sends it."""
    if len(payload) < _LENGTH_16:
        return b"%c%c%b" % (_WHOLE_TEXT if is_text else _WHOLE_BINARY, len(payload), payload)
    return frame_head(is_text, len(payload)) + payload


def frame_head(is_text: bool, size: int) -> bytes:
    """The head of such a frame, whose payload of ``size`` bytes follows."""
    first = _WHOLE_TEXT if is_text else _WHOLE_BINARY
    if size < _LENGTH_16:
        return b"%c%c" % (first, size)
    if size < 65_536:
        return _head_16(first, _LENGTH_16, size)
    return _head_64(first, _LENGTH_64, size)


def least_size(length: int) -> int:
    """The least number of bytes in which a client can send a payload of so many bytes."""
    if length < _LENGTH_16:
        return length + 6
    return length + (8 if length < 65_536 else 14)
