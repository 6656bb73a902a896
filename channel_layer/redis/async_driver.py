"""Redis for an event loop: a few connections per server, each used by one call at a time."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from typing import Any

import redis

from . import scripts
from .errors import DRIVER_ERRORS, translate
from .hosts import Host, check_version
from .scripts import Call
from .wire import Answers, pack


class AsyncConnection(asyncio.Protocol):
    """A connection that redis-py opens, and whose transport then speaks with this object alone.

    No tasks, no streams: a pipeline is one write, and its answers resolve one future.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        # Kept, because its stream would close the transport when it is collected.
        self._opened = host.connect_async()
        self._transport: asyncio.Transport | None = None
        self._answers = Answers()
        self._waiter: asyncio.Future[list[Any]] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can be used: connected, and not given up by either side."""
        return not (self._transport is None or self._transport.is_closing())

    async def open(self, deadline: float | None) -> None:
        """Connect, check the server's version and give it the scripts."""
        async with asyncio.timeout_at(deadline):
            await self._opened.connect()
        self._transport = transport = self._opened._writer.transport
        transport.set_protocol(self)
        commands: list[tuple[Any, ...]] = [("INFO", "server")]
        commands += [("SCRIPT", "LOAD", script.text) for script in scripts.ALL]
        info, *_ = await self.ask(commands, deadline)
        check_version(info, self._host.name)

    async def ask(self, commands: Sequence[tuple[Any, ...]], deadline: float | None) -> list[Any]:
        """Write a pipeline and return its replies. After an exception the connection is to be closed.

        Args:
            deadline: when to give up, by the event loop's time.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise redis.ConnectionError("Connection closed by server.")
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[list[Any]] = loop.create_future()
        self._waiter = waiter
        self._answers.expect(len(commands))
        transport.write(pack(commands))
        # A timer that fails the future: `asyncio.timeout` would cancel the task, at three times the price.
        timer = None if deadline is None else loop.call_at(deadline, self._time_out)
        try:
            return await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    async def close(self) -> None:
        """Close at once; what was not written yet is dropped."""
        if self._transport is not None:
            self._transport.abort()
        await self._opened.disconnect(nowait=True)

    # -- asyncio.Protocol ------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes from the server."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            # Nobody asked: whatever it is, it must not be taken for the answer to the next question.
            if self._transport is not None:
                self._transport.abort()
            return
        try:
            replies = self._answers.feed(data)
        except redis.RedisError as error:
            self._fail(error)
        else:
            if replies is not None:
                waiter.set_result(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._fail(redis.ConnectionError(str(exc) if exc else "Connection closed by server."))

    def _time_out(self) -> None:
        self._fail(redis.TimeoutError("no answer in time"))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)


class AsyncDriver:
    """Runs calls on servers from coroutines. Connections belong to the loop that made them."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.hosts = hosts
        self._idle: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, list[list[AsyncConnection]]] = (
            weakref.WeakKeyDictionary()
        )

    async def run(self, shard: int, calls: Sequence[Call]) -> list[Any]:
        """Run calls in one pipeline and return the replies; errors of single calls are among them.

        Raises:
            LayerUnavailable, LayerConfigurationError
        """
        if not calls:
            return []
        host = self.hosts[shard]
        if host.outage.is_down:
            host.outage.check()
        loop = asyncio.get_running_loop()
        deadline = None if host.timeout is None else loop.time() + host.timeout
        idle = self._idle_of(loop)[shard]
        connection = await _take(idle) or AsyncConnection(host)
        uncertain = False
        try:
            if not connection.is_open:
                await connection.open(deadline)
            uncertain = True
            replies = await connection.ask([call.command() for call in calls], deadline)
            for index, reply in enumerate(replies):
                if isinstance(reply, redis.exceptions.NoScriptError):
                    (replies[index],) = await connection.ask([calls[index].command_with_text()], deadline)
        except DRIVER_ERRORS as error:
            await connection.close()
            host.outage.note(error, uncertain)
            raise translate(error, host.name, uncertain) from error
        except BaseException:
            # Cancelled between question and answer: the next answer would be taken for another's.
            await connection.close()
            raise
        idle.append(connection)
        return replies

    async def close(self) -> None:
        """Close the idle connections of the running loop."""
        for connections in self._idle.pop(asyncio.get_running_loop(), []):
            for connection in connections:
                await connection.close()

    def _idle_of(self, loop: asyncio.AbstractEventLoop) -> list[list[AsyncConnection]]:
        idle = self._idle.get(loop)
        if idle is None:
            idle = self._idle[loop] = [[] for _ in self.hosts]
        return idle


async def _take(idle: list[AsyncConnection]) -> AsyncConnection | None:
    """One that the server has not closed in the meantime."""
    while idle:
        connection = idle.pop()
        if connection.is_open:
            return connection
        await connection.close()
    return None
