"""psycopg's connections, which wait for a server only so long: with `wire`, all that relies on the library's inside.

The methods ``wait`` are where psycopg waits for the server, so that a limit there holds for every statement. When it
has passed, or the waiting task is cancelled, the connection is closed: an answer that comes later must not be taken
for that of another statement.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq.abc import PGconn
from psycopg.pq.misc import PGnotify
from psycopg.waiting import Ready

from .wire import Parameter, Rows, Wire

T = TypeVar("T")


class Statement(NamedTuple):
    """A statement and its parameters.

    Attributes:
        text: with ``%s`` for each parameter; without any, there may be several statements in it.
        parameters: see `wire`.
    """

    text: str | bytes
    parameters: Sequence[Parameter] = ()


Plan: TypeAlias = Generator[Statement, Rows, T]
"""An operation, written once for the blocking and the async side: it yields statements, gets the rows
of each, and returns the result."""


CONNECT_SECONDS = 3
"""Time for making a connection; libpq takes whole seconds, of at least two."""

CALL_SECONDS = 4.0
"""Time for one statement."""

SETTINGS = """
SELECT set_config('synchronous_commit', 'off', false), set_config('enable_seqscan', 'off', false),
    set_config('enable_bitmapscan', 'off', false), set_config('plan_cache_mode', 'force_generic_plan', false),
    set_config('jit', 'off', false), set_config('lock_timeout', '3s', false),
    set_config('idle_in_transaction_session_timeout', '10s', false)
"""
"""Nothing here is worth waiting for a disk. The plans of statements stay while an empty queue becomes a long one, for
which the scan of a whole table, the best plan for an empty one, would be the worst; no parameter asks for another."""


class TimedOut(psycopg.OperationalError):
    """The server said nothing for as long as it was waited for."""


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A blocking connection. Used by one thread at a time."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._wire = Wire(self.pgconn)
        self.farewells = _farewells(self)

    def tell(self, heard: Callable[[str], None]) -> None:
        """Have the texts of notifications passed on, while statements run and when `has_ended` looks."""
        self.pgconn.notify_handler = partial(_tell, heard)

    def wait(self, gen: PQGen[T], interval: float = 0.0, timeout: float | None = None) -> T:
        """Wait for the server for `CALL_SECONDS` at most."""
        deadline = time.monotonic() + (CALL_SECONDS if timeout is None else timeout)
        poll = select.poll()
        try:
            wanted = next(gen)
            poll.register(self.pgconn.socket, _events(wanted))
            while True:
                found = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
                if not found:
                    raise TimedOut(f"it did not answer within {CALL_SECONDS:g} s")
                last, wanted = wanted, gen.send(_ready(found[0][1]))
                if wanted != last:
                    poll.modify(self.pgconn.socket, _events(wanted))
        except StopIteration as end:
            # Those that came with the answer do not make the socket readable again.
            _pass_on_notifications(self.pgconn)
            return end.value  # type: ignore[no-any-return]
        except (TimedOut, KeyboardInterrupt, SystemExit):
            self.pgconn.finish()
            raise

    def rows(self, statement: Statement) -> Rows:
        """Run one statement; its rows, if it has any."""
        return self.wait(self._wire.run(*statement))


class AsyncConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """A connection of one event loop, which watches its socket from the first statement until it is closed.

    Watching it anew for each statement, as psycopg does, costs the kernel and the loop more than most statements take.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._wire = Wire(self.pgconn)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watched = -1
        self._waiting: asyncio.Future[Ready] | None = None
        self._on_end: Callable[[], None] | None = None
        self.farewells = _farewells(self)

    def tell(self, heard: Callable[[str], None], on_end: Callable[[], None]) -> None:
        """Have the texts of notifications passed on as they come, and be told of the end of the connection."""
        self.pgconn.notify_handler = partial(_tell, heard)
        self._on_end = on_end

    async def wait(self, gen: PQGen[T], interval: float = 0.0, timeout: float | None = None) -> T:
        """Wait for the server for `CALL_SECONDS` at most."""
        loop = self._loop or self._watch()
        limit = CALL_SECONDS if timeout is None else timeout
        timer = loop.call_later(limit, self._give_up, limit)
        is_writing = False
        try:
            wanted = next(gen)
            while True:
                if bool(wanted & Ready.W) != is_writing:
                    is_writing = not is_writing
                    self._watch_room(is_writing)
                self._waiting = loop.create_future()
                wanted = gen.send(await self._waiting)
        except StopIteration as end:
            # Those that came with the answer do not make the socket readable again.
            _pass_on_notifications(self.pgconn)
            return end.value  # type: ignore[no-any-return]
        except (TimedOut, asyncio.CancelledError):
            self.finish()
            raise
        finally:
            self._waiting = None
            timer.cancel()
            if is_writing:
                self._watch_room(False)

    async def rows(self, statement: Statement) -> Rows:
        """Run one statement; its rows, if it has any."""
        return await self.wait(self._wire.run(*statement))

    async def close(self) -> None:
        """Close the connection; may be repeated."""
        self.finish()
        await super().close()

    def cut(self) -> None:
        """End the connection, from any thread; its loop learns of it when it runs."""
        with suppress(OSError), socket.socket(fileno=os.dup(self._watched)) as own:
            own.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """Let go of the server and the socket at once, also if the loop has ended."""
        if self._watched >= 0:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._watched)
                self._loop.remove_writer(self._watched)
            os.close(self._watched)
            self._watched = -1
        self.pgconn.finish()
        if self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            on_end()

    def _watch(self) -> asyncio.AbstractEventLoop:
        self._loop = loop = asyncio.get_running_loop()
        # Of its own: libpq closes its one as soon as it meets with an error, and a loop must not watch what is closed.
        self._watched = os.dup(self.pgconn.socket)
        loop.add_reader(self._watched, _heard, weakref.ref(self), Ready.R)
        return loop

    def _watch_room(self, wanted: bool) -> None:
        if self._loop is None or self._watched < 0:
            return
        if wanted:
            self._loop.add_writer(self._watched, _heard, weakref.ref(self), Ready.W)
        else:
            self._loop.remove_writer(self._watched)

    def heard(self, ready: Ready) -> None:
        """Go on with what waits for the socket, which the loop has found to be ready."""
        if self._waiting is None:
            if has_ended(self):
                self.finish()
        elif not self._waiting.done():
            self._waiting.set_result(ready)

    def _give_up(self, limit: float) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(TimedOut(f"it did not answer within {limit:g} s"))


def _heard(connection: weakref.ref[AsyncConnection], ready: Ready) -> None:
    """Called by a loop, which does not keep the connections whose sockets it watches."""
    found = connection()
    if found is not None:
        found.heard(ready)


def has_ended(connection: Connection | AsyncConnection) -> bool:
    """True if the server has ended a connection, or has said that it will.

    The next statement would fail, and perhaps nobody would know how. What else the server has said of its own accord is
    taken in.
    """
    if connection.closed or connection.farewells:
        return True
    if not _has_said(connection.pgconn.socket):
        return False
    try:
        connection.pgconn.consume_input()
    except psycopg.OperationalError:
        return True
    _pass_on_notifications(connection.pgconn)
    return bool(connection.farewells)


def _pass_on_notifications(pgconn: PGconn) -> None:
    while (notification := pgconn.notifies()) is not None:
        if pgconn.notify_handler is not None:
            pgconn.notify_handler(notification)


def _tell(heard: Callable[[str], None], notification: PGnotify) -> None:
    heard(notification.extra.decode())


def _farewells(connection: psycopg.BaseConnection[Any]) -> list[str]:
    """A list that gets what the server says before it ends a connection."""
    said: list[str] = []

    def note(notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized in ("FATAL", "PANIC"):
            said.append(notice.message_primary or "")

    connection.add_notice_handler(note)
    return said


def abandon(connection: psycopg.BaseConnection[Any]) -> None:
    """Forget a connection of the process that this one was forked from, without a word to the server."""
    # psycopg warns of an open connection that is dropped; libpq's own part knows the process that it belongs to.
    connection._pool = None


def _has_said(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _events(wanted: int) -> int:
    return (select.POLLIN if wanted & Ready.R else 0) | (select.POLLOUT if wanted & Ready.W else 0)


def _ready(events: int) -> int:
    ready = (Ready.R if events & select.POLLIN else 0) | (Ready.W if events & select.POLLOUT else 0)
    # An error or a hang-up: the library reads it.
    return ready or Ready.R
