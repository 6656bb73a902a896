"""psycopg's connections, which wait for a server only so long: all that relies on the library's inside.

The methods ``wait`` are where psycopg waits for the server, so that a limit there holds for every statement. When it
has passed, or the waiting task is cancelled, the connection is closed: an answer that comes later must not be taken
for that of another statement.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import psycopg
from psycopg import sql, waiting
from psycopg.abc import PQGen
from psycopg.waiting import Ready

T = TypeVar("T")

Rows: TypeAlias = list[tuple[Any, ...]]


class Statement(NamedTuple):
    """A statement and its parameters.

    Attributes:
        text: with ``%s`` for each parameter.
        parameters: none of them is of the user's, so that each has one type.
        binary: whether the rows come in the binary format, which a ``bytes`` of a megabyte needs.
    """

    text: str | bytes | sql.SQL | sql.Composed
    parameters: Sequence[Any] = ()
    binary: bool = True


Plan: TypeAlias = Generator[Statement, Rows, T]
"""An operation, written once for the blocking and the async side: it yields statements, gets the rows
of each, and returns the result."""


CONNECT_SECONDS = 3
"""Time for making a connection; libpq takes whole seconds, of at least two."""

CALL_SECONDS = 4.0
"""Time for one statement."""

SETTINGS = """
SELECT set_config('synchronous_commit', 'off', false), set_config('enable_seqscan', 'off', false),
    set_config('enable_bitmapscan', 'off', false),
    set_config('jit', 'off', false), set_config('lock_timeout', '3s', false),
    set_config('idle_in_transaction_session_timeout', '10s', false)
"""
"""Nothing here is worth waiting for a disk. The plans of functions stay while an empty queue becomes a long one, for
which the scan of a whole table, the best plan for an empty one, would be the worst."""


class TimedOut(psycopg.OperationalError):
    """The server said nothing for as long as it was waited for."""


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A blocking connection. Used by one thread at a time."""

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
                wanted = gen.send(_ready(found[0][1]))
                poll.modify(self.pgconn.socket, _events(wanted))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        except (TimedOut, KeyboardInterrupt, SystemExit):
            self.pgconn.finish()
            raise

    def rows(self, statement: Statement) -> Rows:
        """Run one statement; its rows, if it has any."""
        cursor = self.execute(statement.text, statement.parameters or None, binary=statement.binary)
        return cursor.fetchall() if cursor.description else []


class AsyncConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """A connection of one event loop."""

    async def wait(self, gen: PQGen[T], interval: float = 0.0, timeout: float | None = None) -> T:
        """Wait for the server for `CALL_SECONDS` at most."""
        limit = CALL_SECONDS if timeout is None else timeout
        try:
            async with asyncio.timeout(limit):
                return await waiting.wait_async(gen, self.pgconn.socket, interval=limit)
        except TimeoutError as error:
            self.pgconn.finish()
            raise TimedOut(f"it did not answer within {limit:g} s") from error
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise

    async def rows(self, statement: Statement) -> Rows:
        """Run one statement; its rows, if it has any."""
        cursor = await self.execute(statement.text, statement.parameters or None, binary=statement.binary)
        return await cursor.fetchall() if cursor.description else []


def has_ended(connection: psycopg.BaseConnection[Any]) -> bool:
    """True if the server has ended a connection, or has said something that nobody asked for, as it does before that.

    The next statement would fail, and perhaps nobody would know how. Not for a connection that listens.
    """
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


def abandon(connection: psycopg.BaseConnection[Any]) -> None:
    """Forget a connection of the process that this one was forked from, without a word to the server."""
    # psycopg warns of an open connection that is dropped; libpq's own part knows the process that it belongs to.
    connection._pool = None


def _events(wanted: int) -> int:
    return (select.POLLIN if wanted & Ready.R else 0) | (select.POLLOUT if wanted & Ready.W else 0)


def _ready(events: int) -> int:
    ready = (Ready.R if events & select.POLLIN else 0) | (Ready.W if events & select.POLLOUT else 0)
    # An error or a hang-up: the library reads it.
    return ready or Ready.R
