"""Everything this layer takes from redis-py beyond its public names, in one place.

redis-py opens connections: addresses, TLS, users, credential providers. From then on the drivers use the socket without
it, see `channel_layer.redis.wire`, and for this they need what it does not hand out. A release of redis-py that moves
one of these fails ``tests/channel_layer/redis/test_redis_py.py``, and the upper bound in ``setup.cfg`` stays below it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, Protocol, TypeAlias, cast

from redis._parsers import BaseParser


class RedisPyConnection(Protocol):
    """A connection of redis-py, as far as it is used; redis-py itself leaves it half untyped."""

    host: str
    port: int

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def send_command(self, *arguments: str) -> None: ...

    def read_response(self) -> Any: ...


class AsyncRedisPyConnection(Protocol):
    """The same for asyncio."""

    host: str
    port: int

    async def connect(self) -> None: ...

    async def disconnect(self, nowait: bool = False) -> None: ...


AnyConnection: TypeAlias = RedisPyConnection | AsyncRedisPyConnection


def socket_of(connection: RedisPyConnection) -> socket.socket:
    """The socket of an open connection; of TLS with what OpenSSL makes of it."""
    return cast("socket.socket", cast("Any", connection)._sock)


def transport_of(connection: AsyncRedisPyConnection) -> asyncio.Transport:
    """The transport of an open asyncio connection."""
    writer: asyncio.StreamWriter = cast("Any", connection)._writer
    return cast("asyncio.Transport", writer.transport)


def shut(connection: RedisPyConnection) -> None:
    """End a connection that another thread may be using: it finds the socket closed by the server."""
    opened: socket.socket | None = cast("Any", connection)._sock
    if opened is not None:
        with contextlib.suppress(OSError):
            # Past TLS, whose state belongs to the other thread.
            socket.socket.shutdown(opened, socket.SHUT_RDWR)


def abort(connection: AsyncRedisPyConnection) -> None:
    """The same for asyncio, in the loop of the connection."""
    writer: asyncio.StreamWriter | None = cast("Any", connection)._writer
    if writer is not None:
        cast("asyncio.Transport", writer.transport).abort()


def opened_socket(connection: RedisPyConnection) -> socket.socket:
    """Open a socket as the connection would, before anything is said on it."""
    return cast("socket.socket", cast("Any", connection)._connect())


def error_of(text: str) -> Exception:
    """The exception that redis-py raises for an error reply."""
    return cast("Exception", BaseParser.parse_error(text))  # type: ignore[no-untyped-call]
