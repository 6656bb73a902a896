"""Database connections of the threads that run consumers.

Django closes connections that broke or outlived CONN_MAX_AGE around each request; here that happens
around each consumer. Walking through all of them, as `django.db.close_old_connections` does, costs more
than many a consumer, so the connections a thread has opened are remembered.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, Protocol, TypeVar

import django.db
from asgiref.sync import SyncToAsync, sync_to_async
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

__all__ = ["DatabaseSyncToAsync", "aclose_old_connections", "close_old_connections", "database_sync_to_async"]

P = ParamSpec("P")
R = TypeVar("R")

WALK_SECONDS = 1.0
"""A thread walks through all its connections at least so often, when it runs consumers.

It finds those that Django did not announce: one that failed half way through connecting, for example.
"""


class _Mine(threading.local):
    """A thread's knowledge of its connections."""

    def __init__(self) -> None:
        self.opened: list[BaseDatabaseWrapper] = []
        self.walk_at = 0.0


_mine = _Mine()

_threads_with_connections: set[int] = set()
"""Threads that have opened a connection since they last had none; some may have closed it, or ended."""


def close_old_connections(**kwargs: object) -> None:
    """Close the calling thread's connections that are unusable or have outlived CONN_MAX_AGE."""
    if opened := _to_look_at():
        for connection in opened:
            connection.close_if_unusable_or_obsolete()
        _forget_closed()


def _to_look_at() -> list[BaseDatabaseWrapper]:
    now = time.monotonic()
    if now >= _mine.walk_at:
        _mine.walk_at = now + WALK_SECONDS
        _mine.opened = [*django.db.connections.all(initialized_only=True)]
    return _mine.opened


def _forget_closed() -> None:
    _mine.opened = [connection for connection in _mine.opened if connection.connection is not None]


class Caretaker(Protocol):
    """The thread in which the sync code of a consumer runs, and what looks after its connections."""

    @property
    def is_used(self) -> bool:
        """True if that is where `sync_to_async` runs functions in the current context: middleware may change that."""

    def renew(self) -> None:
        """Have broken connections closed before the next job: it may come after a long time."""

    async def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function in the thread, as `sync_to_async` does there but without what that looks up for each call.

        The same goes for the context, for `async_to_sync` in the function, and for cancellation.
        """


connections_caretaker: ContextVar[Caretaker | None] = ContextVar("channels_connections_caretaker", default=None)
"""Of the consumer that is run in this context, if it has a thread of its own."""


@contextmanager
def keeping_old_connections() -> Iterator[None]:
    """Close none of the thread's connections for its age inside the block; those that broke are closed.

    For threads that several consumers share: one of them may be in the middle of reading from a connection.
    """
    kept = [(one, one.connection, one.close_at) for one in django.db.connections.all(initialized_only=True)]
    for one, _, _ in kept:
        one.close_at = None
    try:
        yield
    finally:
        for one, connection, close_at in kept:
            if one.connection is connection:  # a new one has a time of its own
                one.close_at = close_at


def reset_queries() -> None:
    """Forget the queries that the calling thread's connections have recorded, as Django does before a request."""
    for connection in _mine.opened:
        connection.queries_log.clear()


def suspect_connections() -> None:
    """Have the thread's next `close_old_connections` walk through all of them: something went wrong in it."""
    _mine.walk_at = 0.0


class DatabaseSyncToAsync(SyncToAsync[P, R]):
    """Makes a function that uses the database one to await: `sync_to_async`, with old connections closed.

    Inside an ``async def`` consumer of Channels 1 plain `sync_to_async` does: its thread is looked after around the
    consumer. This is for tasks that go on for long, for other threads (``thread_sensitive=False``), and for
    code written for Channels 2 and later. Connections inside a transaction are left to those who began it.

    Args:
        func: the function, or a method.
        thread_sensitive, executor: see `asgiref.sync.sync_to_async`.
    """

    def thread_handler(self, loop: Any, *args: Any, **kwargs: object) -> Any:
        """Run the function in its thread, with the thread's connections looked after."""
        with looking_after_connections:
            return super().thread_handler(loop, *args, **kwargs)  # type: ignore[no-untyped-call]


database_sync_to_async = DatabaseSyncToAsync


def renew_connections() -> bool:
    """A consumer that goes on for long is at a point where its broken connections may be closed.

    Returns:
        False if the caller runs in no consumer that has a thread of its own.
    """
    caretaker = connections_caretaker.get()
    if caretaker is None:
        return False
    caretaker.renew()
    return True


async def aclose_old_connections() -> None:
    """Close the old connections of the thread that the calling coroutine's sync code runs in.

    Nothing happens while no thread has one, and in a worker, which looks after the thread before its next job.
    """
    if not renew_connections() and _threads_with_connections:
        await sync_to_async(_close_idle)()


class _LookingAfter:
    """A block in a thread at both ends of which its old connections are closed."""

    def __enter__(self) -> None:
        _close_idle()

    def __exit__(self, *error: object) -> None:
        _close_idle()


looking_after_connections = _LookingAfter()


def _close_idle() -> None:
    if opened := _to_look_at():
        for connection in opened:
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()
        _forget_closed()
    if not _mine.opened:
        _threads_with_connections.discard(threading.get_ident())


def _remember(*, connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    _threads_with_connections.add(threading.get_ident())
    if all(connection is not known for known in _mine.opened):
        _mine.opened.append(connection)


os.register_at_fork(after_in_child=_threads_with_connections.clear)  # those threads stayed in the parent
connection_created.connect(_remember, dispatch_uid="channels.db")
