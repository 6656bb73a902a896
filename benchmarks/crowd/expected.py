"""Comparing what a server sends with the bytes that must come, however they are cut, pings apart."""

from __future__ import annotations

import os

from ..frames import PING, PONG, client_frame
from ..sockets import MASK, Connection, LoadError

_A_PING = 0x80 | PING


def matched(connection: Connection, expected: bytes, frame: int, got: int, data: bytes) -> int:
    """Take what was read; returns how many of the expected bytes have come by now. Pings are answered.

    Args:
        connection: whose socket it came from.
        expected: whole frames of equal size.
        frame: that size.
        got: how many of the bytes had come before.
        data: what was read.

    Raises:
        LoadError: something else came, or the server closed the connection.
    """
    if not data:
        raise LoadError(f"the server closed connection {connection.number}")
    if expected[got : got + len(data)] == data:
        return got + len(data)
    while data:
        if got % frame == 0 and data[0] == _A_PING:
            size = 2 + data[1]
            os.write(connection.fd, client_frame(PONG, data[2:size], MASK))
        else:
            size = frame - got % frame
            piece = data[:size]
            if expected[got : got + len(piece)] != piece:
                raise LoadError(
                    f"socket {connection.number} got something else than it should from byte {got} on: {piece[:60]!r}"
                )
            got += len(piece)
        data = data[size:]
    return got
