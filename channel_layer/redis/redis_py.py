"""Everything this layer takes from redis-py beyond its public names, in one place.

redis-py opens connections: addresses, TLS, users, credential providers. From then on the drivers use the socket without
it, see `channel_layer.redis.wire`, and for this they need what it does not hand out. A release of redis-py that moves
one of these fails ``tests/channel_layer/redis/test_redis_py.py``, and the upper bound in ``setup.cfg`` stays below it.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Protocol, cast

from redis._parsers import BaseParser


class RedisPyConnection(Protocol):
    """A connection of redis-py, as far as it is used; redis-py itself leaves it half untyped."""

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def send_command(self, *arguments: str) -> None: ...

    def read_response(self) -> Any: ...


class AsyncRedisPyConnection(Protocol):
    """The same for asyncio."""

    async def connect(self) -> None: ...

    async def disconnect(self, nowait: bool = False) -> None: ...


def socket_of(connection: RedisPyConnection) -> socket.socket:
    """The socket of an open connection; of TLS with what OpenSSL makes of it."""
    return cast("socket.socket", cast("Any", connection)._sock)


def transport_of(connection: AsyncRedisPyConnection) -> asyncio.Transport:
    """The transport of an open asyncio connection."""
    writer: asyncio.StreamWriter = cast("Any", connection)._writer
    return cast("asyncio.Transport", writer.transport)


def opened_socket(connection: RedisPyConnection) -> socket.socket:
    """Open a socket as the connection would, before anything is said on it."""
    return cast("socket.socket", cast("Any", connection)._connect())


def error_of(text: str) -> Exception:
    """The exception that redis-py raises for an error reply."""
    return cast("Exception", BaseParser.parse_error(text))  # type: ignore[no-untyped-call]
