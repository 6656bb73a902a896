"""Redis for an event loop: a few connections per server, each used by one call at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor

import redis

from ..event_loops import write_pieces
from ..exceptions import LayerUnavailable
from ..forks import forget_in_children
from . import redirections, scripts
from .errors import DRIVER_ERRORS, has_stepped_down, is_cut_off, translate, translate_opening
from .hosts import Host
from .redis_py import abort, transport_of
from .scripts import Call, Reply, Word, plain
from .sync_driver import SyncDriver
from .wire import ReplyReader, pack

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.01
"""Time for a look at the sockets."""


class AsyncConnection(asyncio.BufferedProtocol):
    """A connection that redis-py opens, and whose transport then speaks with this object alone.

    No tasks, no streams: a pipeline is one write, and its answers resolve one future.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        # Kept, because its stream would close the transport when it is collected.
        self._opened = host.connect_async()
        self._transport: asyncio.Transport | None = None
        self._answers = ReplyReader()
        self._waiter: asyncio.Future[list[Reply]] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.client_id: int | None = None

    @property
    def is_open(self) -> bool:
        """True while it can be used: connected, and not given up by either side."""
        return not (self._transport is None or self._transport.is_closing())

    async def open(self, deadline: float | None) -> None:
        """Connect, check that the server will do, and give it the scripts.

        Raises:
            LayerUnavailable, LayerUnusable: it cannot be used; nothing was stored or taken.
        """
        handled = sys.exception()
        try:
            await self._open(deadline)
        except DRIVER_ERRORS as error:
            host, refusal = self._host, None
            if host.uses_tls and is_cut_off(error):
                refusal = await asyncio.to_thread(host.listen_for_refusal)
            raise refusal or translate_opening(error, host.name, handled) from error

    async def _open(self, deadline: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._answers = ReplyReader()
        async with asyncio.timeout_at(deadline):
            await self._host.aaim(self._opened, self)
            await self._opened.connect()
        self._transport = transport = transport_of(self._opened)
        transport.pause_reading()  # uvloop looks at the kind of protocol when it begins to read
        transport.set_protocol(self)
        transport.resume_reading()
        commands: list[tuple[Word, ...]] = [("CLIENT", "ID"), ("INFO", *self._host.sections)]
        commands += [("SCRIPT", "LOAD", script.text) for script in scripts.ALL]
        client_id, info, *loaded = await self.ask(commands, deadline)
        self.client_id = client_id if isinstance(client_id, int) else None
        if questions := self._host.admit(self, info, loaded):
            self._host.learn(await self.ask(questions, deadline))

    async def ask(self, commands: Sequence[tuple[Word, ...]], deadline: float | None) -> list[Reply]:
        """Write a pipeline and return its replies. After an exception the connection is to be closed.

        Args:
            deadline: when to give up, by the event loop's time.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise redis.ConnectionError("Connection closed by server.")
        loop = self._loop
        assert loop is not None
        waiter: asyncio.Future[list[Reply]] = loop.create_future()
        self._waiter = waiter
        self._answers.expect(len(commands))
        pieces = pack(commands)
        if len(pieces) == 1:
            transport.write(pieces[0])
        else:
            write_pieces(transport, pieces)
        # A timer that fails the future: `asyncio.timeout` would cancel the task, at three times the price.
        timer = None if deadline is None else loop.call_at(deadline, self._time_out, waiter)
        try:
            return await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    async def follow(self, calls: Sequence[Call], replies: list[Reply], deadline: float | None) -> None:
        """Make the calls again that a node of a cluster did not make, see `channel_layer.redis.redirections`."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + redirections.LONGEST
        while (places := redirections.redirected(calls, replies)) and loop.time() < give_up:
            address = redirections.new_place(replies)
            if address is None:
                await asyncio.sleep(redirections.PAUSE)
            else:
                self._host.moved(address)
                await self.close()
                try:
                    await self.open(deadline)
                except LayerUnavailable as error:
                    logger.debug("%s", error)
                    return  # those calls were refused, and others of the pipeline may have been made
            again = [calls[place].command() for place in places]
            for place, reply in zip(places, await self.ask(again, deadline), strict=True):
                replies[place] = reply

    def cut(self) -> None:
        """See `channel_layer.redis.hosts.Connected.cut`."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and the connection with it
                self._loop.call_soon_threadsafe(abort, self._opened)

    async def close(self) -> None:
        """Close at once; what was not written yet is dropped."""
        if self._transport is not None:
            self._transport.abort()
        with contextlib.suppress(*DRIVER_ERRORS):
            await self._opened.disconnect(nowait=True)

    # -- asyncio.BufferedProtocol ----------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """See `asyncio.BufferedProtocol.get_buffer`."""
        return self._answers.room()

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes from the server are in the buffer."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            # Nobody asked: whatever it is, it must not be taken for the answer to the next question.
            if self._transport is not None:
                self._transport.abort()
            return
        try:
            replies = self._answers.filled(nbytes)
        except redis.RedisError as error:
            self._fail(error)
        else:
            if replies is not None:
                waiter.set_result(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        error = redis.ConnectionError(str(exc) if exc else "Connection closed by server.")
        error.__cause__ = exc
        self._fail(error)

    def _time_out(self, waiter: asyncio.Future[list[Reply]]) -> None:
        """The time is over: give up after one more look, since a process that was held up sees its timers first."""
        asyncio.get_running_loop().call_later(LOOK_SECONDS, self._give_up, waiter)

    def _give_up(self, waiter: asyncio.Future[list[Reply]]) -> None:
        if waiter is self._waiter:
            self._fail(redis.TimeoutError("no answer in time"))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)


class _Idle:
    """The idle connections of one event loop, by server; closed when it ends.

    An asynchronous generator that waits at its only ``yield`` sees to that: whoever ends a loop in order, as
    `asyncio.run` does, has such generators closed while the loop still runs.
    """

    def __init__(self, servers: int) -> None:
        self.by_shard: list[list[AsyncConnection]] = [[] for _ in range(servers)]
        self._guard: AsyncGenerator[None] | None = None
        self._ended = False
        self.blocked: set[tuple[int, AsyncConnection]] = set()
        """Connections with a call that waits in Redis, and the server of each."""
        self.brief_calls = 0
        self.is_guarded = False
        """True if connections may be added to `by_shard` without `give_back`, which is a coroutine less."""

    async def take(self, shard: int) -> AsyncConnection | None:
        """One that the server has not closed in the meantime."""
        idle = self.by_shard[shard]
        while idle and not idle[-1].is_open:
            await idle.pop().close()
        return idle.pop() if idle else None

    async def give_back(self, shard: int, connection: AsyncConnection) -> None:
        """Keep a connection, unless the loop is about to end."""
        if self._ended:
            await connection.close()
            return
        if self._guard is None:
            self._guard = self._until_the_end()
            await anext(self._guard)
        self.is_guarded = True
        self.by_shard[shard].append(connection)

    async def close(self) -> None:
        """Close them all."""
        guard, self._guard = self._guard, None
        if guard is not None:
            await guard.aclose()
            self._ended = False

    async def _until_the_end(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self._ended, self.is_guarded = True, False
            for idle in self.by_shard:
                while idle:
                    await idle.pop().close()


BRIEF_CALLS = 3
"""Pipelines of a new loop that borrow a thread. Most loops make one: those of `asgiref.sync.async_to_sync`."""

BRIEF_THREADS = 8


class AsyncDriver:
    """Runs calls on servers from coroutines. Connections belong to the loop that made them.

    Args:
        hosts: the servers.
        sync: a driver for the first calls of a loop, in a few threads that keep their connections. To open a connection
            for a loop, and to check the server and its scripts, costs many times as much as a call.
    """

    def __init__(self, hosts: Sequence[Host], sync: SyncDriver | None = None) -> None:
        self.hosts = hosts
        self._sync = sync
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        forget_in_children(self)
        self._idle: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Idle] = weakref.WeakKeyDictionary()

    def forget(self) -> None:
        """Let go of the threads: they stayed behind in the process that this one was forked from."""
        self._lock = threading.Lock()
        self._threads = None

    async def run(self, shard: int, calls: Sequence[Call], *, blocks: bool = False) -> list[Reply]:
        """Run calls in one pipeline and return the replies; errors of single calls are among them.

        Args:
            blocks: whether one of them waits in Redis.

        Raises:
            LayerUnavailable, LayerUnusable
        """
        if not calls:
            return []
        host = self.hosts[shard]
        if host.outage.is_down:
            host.outage.check()
        loop = asyncio.get_running_loop()
        deadline = None if host.timeout is None else loop.time() + host.timeout
        idle = self._idle_of(loop)
        free = idle.by_shard[shard]
        connection = free.pop() if free and free[-1].is_open else await idle.take(shard)
        is_new = connection is None
        if connection is None:
            if not blocks and self._sync is not None and idle.brief_calls < BRIEF_CALLS:
                idle.brief_calls += 1
                return await loop.run_in_executor(self._brief_threads(), self._sync.run, shard, calls)
            connection = AsyncConnection(host)
        spoilt = False
        if blocks:
            idle.blocked.add((shard, connection))
        try:
            if is_new:
                try:
                    await connection.open(deadline)
                except LayerUnavailable as error:
                    await connection.close()
                    host.outage.note(error, uncertain=False)
                    raise
            replies = await connection.ask([call.command() for call in calls], deadline)
            for index, reply in enumerate(replies):
                if isinstance(reply, redis.ResponseError):
                    if isinstance(reply, redis.exceptions.NoScriptError):
                        (replies[index],) = await connection.ask([calls[index].command_with_text()], deadline)
                    elif has_stepped_down(reply):
                        spoilt = True
            if host.redirects:
                await connection.follow(calls, replies, deadline)
        except DRIVER_ERRORS as error:
            await connection.close()
            host.outage.note(error, uncertain=True)
            raise translate(error, host.name) from error
        except BaseException:
            # Cancelled between question and answer: the next answer would be taken for another's.
            await connection.close()
            raise
        finally:
            if blocks:
                idle.blocked.discard((shard, connection))
        if spoilt:
            await connection.close()
        elif idle.is_guarded:
            idle.by_shard[shard].append(connection)
        else:
            await idle.give_back(shard, connection)
        return replies

    async def unblock(self) -> None:
        """Have every call of the running loop that waits in Redis return now, with what it has."""
        for shard, connection in list(self._idle_of(asyncio.get_running_loop()).blocked):
            if connection.client_id is not None:
                try:
                    await self.run(shard, [plain("CLIENT", "UNBLOCK", connection.client_id, "ERROR")])
                except LayerUnavailable as error:
                    logger.debug("nobody to interrupt: %s", error)

    def end_threads(self) -> None:
        """End the threads; a later call gets others."""
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown()

    def _brief_threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(BRIEF_THREADS, thread_name_prefix="redis-brief")
            return self._threads

    async def close(self) -> None:
        """Close the idle connections of the running loop."""
        idle = self._idle.get(asyncio.get_running_loop())
        if idle is not None:
            await idle.close()

    def _idle_of(self, loop: asyncio.AbstractEventLoop) -> _Idle:
        idle = self._idle.get(loop)
        if idle is None:
            with self._lock:
                # Its connections hold a loop that was closed without being ended in order.
                for other in [other for other in self._idle if other.is_closed()]:
                    del self._idle[other]
                idle = self._idle[loop] = _Idle(len(self.hosts))
        return idle
