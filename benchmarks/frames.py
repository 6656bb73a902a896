"""WebSocket frames as a client writes and reads them (RFC 6455), and the opening handshake.

Only what a load client needs: whole frames to the server, and a reader for what the server sends.
"""

from __future__ import annotations

import base64
import hashlib

TEXT = 0x1
BINARY = 0x2
CONTINUATION = 0x0
CLOSE = 0x8
PING = 0x9
PONG = 0xA

_FIN = 0x80
_MASKED = 0x80
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class FrameError(ValueError):
    """The server broke RFC 6455, or did something this client has no use for."""


def client_frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """A whole frame as a client must send it: masked (RFC 6455, 5.3)."""
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")
    return bytes([_FIN | opcode]) + _length(len(payload), _MASKED) + mask + masked


def server_frame(opcode: int, payload: bytes) -> bytes:
    """A whole frame as a server must send it: unmasked, in the shortest form of its length."""
    return bytes([_FIN | opcode]) + _length(len(payload), 0) + payload


def _length(size: int, flag: int) -> bytes:
    if size < 126:
        return bytes([flag | size])
    if size < 65_536:
        return bytes([flag | 126]) + size.to_bytes(2, "big")
    return bytes([flag | 127]) + size.to_bytes(8, "big")


class FrameReader:
    """Cuts what a server sends into messages, however the network cut it before.

    Attributes:
        buffered: bytes of a frame whose rest has not come yet.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._opcode: int | None = None
        self._parts: list[bytes] = []

    @property
    def buffered(self) -> int:
        """Bytes of frames and messages that are not complete."""
        return len(self._buffer) + sum(map(len, self._parts))

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take bytes; return the messages that are now complete as (opcode, payload).

        Raises:
            FrameError: a masked frame, reserved bits, or a continuation of nothing.
        """
        data = self._buffer + data
        messages: list[tuple[int, bytes]] = []
        start = 0
        while (end := self._end(data, start)) is not None:
            payload_start, payload_end = end
            self._frame(data[start], data[payload_start:payload_end], messages)
            start = payload_end
        self._buffer = data[start:]
        return messages

    def _end(self, data: bytes, start: int) -> tuple[int, int] | None:
        """Find begin and end of the payload of the frame at ``start``; ``None`` if it is incomplete."""
        if len(data) < start + 2:
            return None
        if data[start + 1] & _MASKED:
            raise FrameError("the server sent a masked frame")
        size, head = data[start + 1], start + 2
        if size > 125:
            width = 2 if size == 126 else 8
            if len(data) < head + width:
                return None
            size, head = int.from_bytes(data[head : head + width], "big"), head + width
        return (head, head + size) if len(data) >= head + size else None

    def _frame(self, first: int, payload: bytes, messages: list[tuple[int, bytes]]) -> None:
        if first & 0x70:
            raise FrameError("the server set reserved bits; no extension was agreed on")
        opcode, fin = first & 0x0F, first & _FIN
        if opcode >= CLOSE:
            messages.append((opcode, payload))
            return
        if (opcode == CONTINUATION) != (self._opcode is not None):
            raise FrameError("the server sent a continuation of nothing, or a message inside a message")
        if self._opcode is None:
            self._opcode = opcode
        self._parts.append(payload)
        if fin:
            messages.append((self._opcode, b"".join(self._parts)))
            self._opcode, self._parts = None, []


def handshake_request(host: str, path: str, key: str) -> bytes:
    """The request that opens a WebSocket; it offers no extension."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def check_handshake(head: bytes, key: str) -> None:
    """Check the head of the server's answer (RFC 6455, 4.1); raises `FrameError` with its first line."""
    lines = head.split(b"\r\n")
    if b" 101 " not in lines[0]:
        raise FrameError(f"the handshake was answered with {lines[0].decode('latin-1')!r}")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
    expected = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest())
    if fields.get(b"sec-websocket-accept") != expected:
        raise FrameError("the handshake's Sec-WebSocket-Accept is wrong")
