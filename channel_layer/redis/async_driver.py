"""Redis for an event loop: a few connections per server, each used by one call at a time."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import redis

from . import scripts
from .errors import DRIVER_ERRORS, translate
from .hosts import Host, check_version
from .scripts import Call


class AsyncDriver:
    """Runs calls on servers from coroutines. Connections belong to the loop that made them."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.hosts = hosts
        self._idle: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, list[Any]]] = (
            weakref.WeakKeyDictionary()
        )

    async def run(self, shard: int, calls: Sequence[Call]) -> list[Any]:
        """Run calls in one pipeline and return the replies; errors of single calls are among them.

        Raises:
            LayerUnavailable, LayerConfigurationError
        """
        async with self._borrow(shard) as connection:
            commands = [call.command() for call in calls]
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            replies = await _read(connection, len(commands))
            for index, reply in enumerate(replies):
                if isinstance(reply, redis.exceptions.NoScriptError):
                    packed = connection.pack_commands([calls[index].command_with_text()])
                    await connection.send_packed_command(packed, check_health=False)
                    (replies[index],) = await _read(connection, 1)
            return replies

    async def close(self) -> None:
        """Close the idle connections of the running loop."""
        for connections in self._idle.pop(asyncio.get_running_loop(), {}).values():
            for connection in connections:
                await connection.disconnect(nowait=True)

    @asynccontextmanager
    async def _borrow(self, shard: int) -> AsyncIterator[Any]:
        idle = self._idle.setdefault(asyncio.get_running_loop(), {}).setdefault(shard, [])
        host = self.hosts[shard]
        connection = idle.pop() if idle else host.connect_async()
        uncertain = False
        try:
            async with asyncio.timeout(host.timeout):
                if not connection.is_connected:
                    await _connect(connection, host)
                uncertain = True
                yield connection
        except DRIVER_ERRORS as error:
            await connection.disconnect(nowait=True)
            raise translate(error, host.name, uncertain) from error
        except BaseException:
            # Cancelled between question and answer: the next answer would be taken for another's.
            await connection.disconnect(nowait=True)
            raise
        idle.append(connection)


async def _connect(connection: Any, host: Host) -> None:
    await connection.connect()
    commands: list[tuple[Any, ...]] = [("INFO", "server")]
    commands += [("SCRIPT", "LOAD", script.text) for script in scripts.ALL]
    await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    info, *_ = await _read(connection, len(commands))
    check_version(info, host.name)


async def _read(connection: Any, count: int) -> list[Any]:
    replies: list[Any] = []
    for _ in range(count):
        try:
            replies.append(await connection.read_response(disable_decoding=True))
        except redis.ResponseError as error:
            replies.append(error)
    return replies
