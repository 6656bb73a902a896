"""Run plans on connections: one connection for all threads of a process, one for each event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from typing import TypeVar

import psycopg

from ..exceptions import LayerUnavailable
from . import errors
from .connections import (
    CALL_SECONDS,
    CONNECT_SECONDS,
    SETTINGS,
    AsyncConnection,
    Connection,
    Plan,
    Statement,
    TimedOut,
    abandon,
    has_ended,
)
from .listening import Ear
from .pooling import prove
from .schema import Schema

T = TypeVar("T")

_log = logging.getLogger("channel_layer.postgres")

REFUSE_SECONDS = 0.5
"""Time after a vain attempt to connect in which calls fail at once, so that not each of them waits."""

REPEATS = 5
"""Further attempts at a transaction that the server has undone because of another one."""


class Server:
    """A database: its address, and if it could be reached of late. Thread-safe.

    Args:
        conninfo: as libpq takes it.
        where: the same without the password, for messages.
        schema: makes the tables.
    """

    def __init__(self, conninfo: str, where: str, schema: Schema) -> None:
        self.conninfo, self.where, self.schema = conninfo, where, schema
        self._is_proven = False
        self._down_until = 0.0
        self._reason = ""

    def check(self) -> None:
        """Fail at once if an attempt has just failed.

        Raises:
            LayerUnavailable: nothing was sent.
        """
        if time.monotonic() < self._down_until:
            raise LayerUnavailable(self.where, self._reason, uncertain=False)

    def prove(self) -> None:
        """Find out, once, if notifications arrive through the pooler in between. Blocks for seconds.

        Raises:
            LayerUnusable: they do not.
            LayerUnavailable: the database cannot be reached.
        """
        if not self._is_proven:
            try:
                prove(self.conninfo, self.where)
            except LayerUnavailable as error:
                raise self._remembered(error) from error
            self._is_proven = True

    def not_connected(self, error: psycopg.Error) -> LayerUnavailable:
        """Remember that it could not be reached, and return what to raise."""
        return self._remembered(errors.not_connected(error, self.where))

    def not_prepared(self, error: psycopg.Error) -> LayerUnavailable:
        """A connection was made, and could not be made ready; what was begun there is undone."""
        found = self._remembered(errors.failed(error, self.where))
        found.uncertain = False
        return found

    def failed(self, error: psycopg.Error) -> LayerUnavailable:
        """Remember what a statement has met with, and return what to raise."""
        found = errors.failed(error, self.where)
        return self._remembered(found) if isinstance(error, TimedOut) else found

    def has_ended(self, connection: Connection | AsyncConnection) -> bool:
        """True if a connection can be used no more; why the server has ended it is logged."""
        if not has_ended(connection):
            return False
        if connection.farewells:
            reason = connection.farewells.pop(0).rstrip(".")
            _log.warning("PostgreSQL at %s has ended a connection: %s. Trying again.", self.where, reason)
        return True

    def _remembered(self, error: LayerUnavailable) -> LayerUnavailable:
        self._reason = error.reason
        self._down_until = time.monotonic() + REFUSE_SECONDS
        return error


class Driver:
    """The blocking side. Thread-safe; statements of several threads come one after the other.

    Args:
        server: where it connects.
        ear: hears what its connections are told, if they are to listen.
    """

    def __init__(self, server: Server, ear: Ear | None = None) -> None:
        self._server = server
        self._ear = ear
        self._lock = threading.RLock()
        self._connection: Connection | None = None

    def run(self, plan: Callable[[], Plan[T]], whole: bool = False) -> T:
        """Run a plan.

        Args:
            plan: makes it, once for each attempt.
            whole: all its statements in one transaction.

        Raises:
            LayerUnavailable, LayerUnusable
        """
        server = self._server
        server.check()
        if not self._lock.acquire(timeout=CALL_SECONDS):
            raise LayerUnavailable(server.where, f"others have waited for it for {CALL_SECONDS:g} s", uncertain=False)
        try:
            connection = self._ready()
            for repeat in range(REPEATS + 1):
                try:
                    return self._run(connection, plan(), whole)
                except errors.REPEATABLE:
                    if repeat == REPEATS:
                        raise
            raise AssertionError("unreachable")
        except psycopg.Error as error:
            if isinstance(error, errors.GONE):
                self.close()
            raise server.failed(error) from error
        finally:
            self._lock.release()

    @property
    def connection(self) -> Connection:
        """The connection, made if there is none. For a thread that has the driver for itself, and may listen on it.

        Raises:
            LayerUnavailable, LayerUnusable
        """
        connection = self._connection
        return self._ready() if connection is None or connection.closed else connection

    @property
    def current(self) -> Connection | None:
        """The connection, if there is one."""
        return self._connection

    def listen(self, ear: Ear, channels: Sequence[str]) -> None:
        """Have the connection hear of messages on the channels, and take in what it has been told.

        Raises:
            LayerUnavailable, LayerUnusable
        """
        if ear.is_listening_to(channels):
            self.hear()
            return
        try:
            self.run(lambda: ear.listen(channels))
        except LayerUnavailable as error:
            error.uncertain = False  # no message was on its way
            raise

    def hear(self) -> None:
        """Take in what the server has said of its own accord."""
        with self._lock:
            if self._connection is not None and self._server.has_ended(self._connection):
                self.close()

    def close(self) -> None:
        """Close the connection; the next call makes another."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
                if self._ear is not None:
                    self._ear.lose()

    def forget(self) -> None:
        """Let go of the connection of the process that this one was forked from."""
        self._lock = threading.RLock()
        connection, self._connection = self._connection, None
        if connection is not None:
            abandon(connection)

    def __del__(self) -> None:
        if self._connection is not None:
            self._connection.close()

    @staticmethod
    def _run(connection: Connection, plan: Plan[T], whole: bool) -> T:
        with ExitStack() as stack:
            if whole:
                stack.enter_context(connection.transaction())
            try:
                statement = next(plan)
                while True:
                    statement = plan.send(connection.rows(statement))
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    def _ready(self) -> Connection:
        connection = self._connection
        if connection is not None and not self._server.has_ended(connection):
            return connection
        self.close()
        server = self._server
        try:
            connection = Connection.connect(server.conninfo, autocommit=True, connect_timeout=CONNECT_SECONDS)
        except psycopg.Error as error:
            raise server.not_connected(error) from error
        try:
            if self._run(connection, server.schema.prepare(connection.pgconn.backend_pid), whole=True):
                server.prove()
            # Not before: a pooler that lends connections for a transaction would leave them to others.
            connection.rows(Statement(SETTINGS))
        except psycopg.Error as error:
            connection.close()
            raise server.not_prepared(error) from error
        except BaseException:
            connection.close()
            raise
        if self._ear is not None:
            connection.tell(self._ear.ring)
        self._connection = connection
        return connection


class AsyncDriver:
    """The async side: a connection for each event loop, which listens, too. Its statements come one after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = weakref.WeakKeyDictionary()

    async def run(self, plan: Callable[[], Plan[T]], whole: bool = False) -> T:
        """See `Driver.run`. Cancelling it leaves open whether it happened."""
        server = self._server
        server.check()
        own = self._own()
        async with own.lock:
            server.check()
            connection = await self._ready(own)
            try:
                for repeat in range(REPEATS + 1):
                    try:
                        return await self._run(connection, plan(), whole)
                    except errors.REPEATABLE:
                        if repeat == REPEATS:
                            raise
                raise AssertionError("unreachable")
            except psycopg.Error as error:
                if isinstance(error, errors.GONE):
                    own.connection = None
                    await connection.close()
                raise server.failed(error) from error

    @property
    def ear(self) -> Ear:
        """The ear of this event loop's connection."""
        return self._own().ear

    @property
    def ears(self) -> list[Ear]:
        """Those of all event loops."""
        return [own.ear for _, own in self._all()]

    async def listen(self, channels: Sequence[str]) -> None:
        """Have the connection hear of messages on the channels."""
        own = self._own()
        own.ran = time.monotonic()
        if not own.ear.is_listening_to(channels):
            try:
                await self.run(lambda: own.ear.listen(channels))
            except LayerUnavailable as error:
                error.uncertain = False  # no message was on its way
                raise

    def end_unused(self, seconds: float, deaf_seconds: float) -> bool:
        """Have connections listen no more for whom nobody waits; called by another thread.

        Args:
            seconds: how long nobody has waited there.
            deaf_seconds: how long a loop that does not run keeps a connection that listens.

        Returns:
            Whether any listen then.
        """
        now = time.monotonic()
        for loop, own in self._all():
            connection = own.connection
            if connection is None or not own.ear.is_listening:
                continue
            if now - own.ran > deaf_seconds:
                connection.cut()
                own.ear.lose()
            elif not own.ear.is_waited_at and now - own.ear.unused_since >= seconds:
                with suppress(RuntimeError):  # the loop was closed
                    loop.call_soon_threadsafe(self._end, own)
        return any(ear.is_listening for ear in self.ears)

    def _end(self, own: _Loop) -> None:
        own.ending = asyncio.ensure_future(self._stop_listening(own))

    async def _stop_listening(self, own: _Loop) -> None:
        with suppress(LayerUnavailable):
            if not own.ear.is_waited_at:
                await self.run(own.ear.stop_listening)

    def _own(self) -> _Loop:
        loop = asyncio.get_running_loop()
        own = self._loops.get(loop)
        if own is None:
            with self._lock:
                own = self._loops[loop] = _Loop(Ear(self._server.schema.name))
        return own

    def _all(self) -> list[tuple[asyncio.AbstractEventLoop, _Loop]]:
        with self._lock:
            return list(self._loops.items())

    async def aclose(self) -> None:
        """Close the connection of this event loop."""
        with self._lock:
            own = self._loops.pop(asyncio.get_running_loop(), None)
        if own is not None and own.connection is not None:
            await own.connection.close()

    def forget(self) -> None:
        """Let go of the connections of the process that this one was forked from."""
        for own in self._loops.values():
            if own.connection is not None:
                abandon(own.connection)
        self._lock = threading.Lock()
        self._loops = weakref.WeakKeyDictionary()

    @staticmethod
    async def _run(connection: AsyncConnection, plan: Plan[T], whole: bool) -> T:
        async with AsyncExitStack() as stack:
            if whole:
                await stack.enter_async_context(connection.transaction())
            try:
                statement = next(plan)
                while True:
                    statement = plan.send(await connection.rows(statement))
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    async def _ready(self, own: _Loop) -> AsyncConnection:
        connection = own.connection
        if connection is not None:
            if not self._server.has_ended(connection):
                return connection
            own.connection = None
            await connection.close()
        server = self._server
        try:
            connection = await AsyncConnection.connect(
                server.conninfo, autocommit=True, connect_timeout=CONNECT_SECONDS
            )
        except psycopg.Error as error:
            raise server.not_connected(error) from error
        try:
            if await self._run(connection, server.schema.prepare(connection.pgconn.backend_pid), whole=True):
                await asyncio.to_thread(server.prove)
            await connection.rows(Statement(SETTINGS))
        except psycopg.Error as error:
            await connection.close()
            raise server.not_prepared(error) from error
        except BaseException:
            await connection.close()
            raise
        connection.tell(own.ear.ring, own.ear.lose)
        own.connection = connection
        return connection


class _Loop:
    """The part of the async side that belongs to one event loop."""

    def __init__(self, ear: Ear) -> None:
        self.ear = ear
        self.ran = 0.0
        self.ending: asyncio.Future[None] | None = None
        self.lock = asyncio.Lock()
        self.connection: AsyncConnection | None = None

    def __del__(self) -> None:
        if self.connection is not None:
            # Its loop has ended without `aclose`; the socket is closed with a word to the server.
            self.connection.finish()
