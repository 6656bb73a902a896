"""The threads in which `sync_to_async` runs what ``async def`` consumers call.

By asgiref's rules all of them would share one thread of the process, and one slow query would hold up
the queries of all others. Here they share several; each consumer stays with the one it got first, because
its database connections belong to that thread. The threads live on, and their connections with them.
The same goes for streams, which have no end: their connections are looked after between their parts.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import operator
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import connections

from workers.sync_side import SyncSide

from ..db import close_old_connections, connections_caretaker, keeping_old_connections
from .django_internals import adopt_context, has_locals, prepare_thread, run_in, runs_in

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("channels.sync_threads")

_Job = Callable[[], None]


class _Thread:
    """One thread with its queue. Started when it gets its first job.

    Attributes:
        consumers: how many have got this thread and not ended. Counted on the event loop.
    """

    def __init__(self, number: int) -> None:
        self.consumers = 0
        self._put = self._done = 0  # each is counted by one thread
        self._busy_since: float | None = None
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        # A daemon: a query that hangs must not keep the process from ending.
        self.thread = threading.Thread(target=self._run, name=f"worker-async-sync-{number}", daemon=True)
        self._started = False

    @property
    def jobs(self) -> int:
        """Number of waiting and running calls."""
        return self._put - self._done

    def is_hung(self, seconds: float) -> bool:
        """True if it has been in one call for so long."""
        since = self._busy_since
        return since is not None and time.perf_counter() - since >= seconds

    def put(self, job: _Job) -> None:
        self._put += 1
        if not self._started:
            self._started = True
            self.thread.start()
        self._queue.put(job)

    def look_after_connections(self, besides: int) -> None:
        """Have the connections closed that broke; the old ones too, unless more consumers than ``besides`` are here."""
        self.put(lambda: self._look_after_connections(besides))

    def keeping_shared(self, besides: int) -> AbstractContextManager[None]:
        """A block in which old connections stay open if more consumers than ``besides`` have this thread."""
        return keeping_old_connections() if self.consumers > besides else nullcontext()

    def end(self) -> None:
        """Close the connections and end, when all jobs are done."""
        self._queue.put(None)

    def join(self, seconds: float) -> None:
        if self._started:
            self.thread.join(seconds)

    def _look_after_connections(self, besides: int) -> None:
        try:
            with self.keeping_shared(besides):
                close_old_connections()
        except Exception:
            logger.exception("old database connections could not be closed")

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            self._busy_since = time.perf_counter()
            job()
            self._busy_since = None
            del job  # it holds what was passed to the function
            self._done += 1
        connections.close_all()


_Slot: TypeAlias = list[asyncio.Future[T]]
"""Holds the future that gets the outcome of a call: another one if the first was cancelled and it still counts."""


class _Ticket:
    """The executor of one consumer: the thread with the least to do when it is first used.

    It has of an executor what asyncio calls, and so is a third of one: a quiet consumer keeps it.
    """

    __slots__ = ("_contexts", "_look_besides", "_threads", "thread")

    def __init__(self, threads: list[_Thread]) -> None:
        self._threads = threads
        # That of the consumer after a call, and the same one as it is in the thread.
        self._contexts: tuple[contextvars.Context, contextvars.Context] | None = None
        self._look_besides: int | None = 1
        self.thread: _Thread | None = None

    def renew(self) -> None:
        """Have broken connections closed before the next job: it may come after a long time."""
        self._look_besides = 0  # this consumer, too, may be in the middle of reading from an old one

    def give_back(self) -> None:
        """The consumer has ended."""
        if self.thread is not None:
            self.thread.consumers -= 1
            self.thread.look_after_connections(besides=0)

    @property
    def is_used(self) -> bool:
        """See `Caretaker.is_used`."""
        return runs_in(self)

    async def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Caretaker.call`; one at a time."""
        here = contextvars.copy_context()
        context, known = here.copy(), False
        if self._contexts is not None and _are_same(here, self._contexts[0]):
            context, known = self._contexts[1], True
        self._contexts = None  # of a call that is cancelled the thread may still be in it
        before = context.copy()
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[Any]] = []
        slot: _Slot[T] = [loop.create_future()]
        prepared = functools.partial(_prepared, loop, tasks, context, known, function)
        self._put(loop, slot, functools.partial(context.run, prepared, *args, **kwargs))
        try:
            return await slot[0]
        except asyncio.CancelledError:
            if not tasks:
                raise  # it has not begun, or goes on for nobody
            # The function waits for a coroutine, which hears of this first; what it makes of that decides.
            task = tasks[0]
            outcome: asyncio.Future[T] = loop.create_future()
            outcome.add_done_callback(_ask)  # perhaps nobody else will
            slot[0] = outcome
            task.cancel()
            await asyncio.wait([task])
            if task.cancelled():
                raise
            return await outcome  # which the thread may have settled by now
        finally:
            if not _are_same(context, before):
                adopt_context(context)
            if slot[0].done() and not slot[0].cancelled():
                self._contexts = contextvars.copy_context(), context

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> asyncio.Future[T]:
        """Run a function in the thread; to be called on an event loop, as `run_in_executor` does.

        Returns a future of that loop: one of `concurrent.futures` and its way to the loop take most of the time of a
        short function.
        """
        loop = asyncio.get_running_loop()
        slot: _Slot[T] = [loop.create_future()]
        self._put(loop, slot, functools.partial(function, *args, **kwargs))
        return slot[0]

    def _put(self, loop: asyncio.AbstractEventLoop, slot: _Slot[T], function: Callable[[], T]) -> None:
        def job() -> None:
            if slot[0].cancelled():
                return
            outcome: T | None = None
            failure: BaseException | None = None
            try:
                outcome = function()
            except StopIteration as error:  # a future takes no such exception
                failure = RuntimeError(f"a function raised {error!r}")
            except BaseException as error:
                failure = error
            try:
                loop.call_soon_threadsafe(_settle, slot, outcome, failure)
            except RuntimeError:
                pass  # the loop was closed meanwhile, and nobody waits

        if self.thread is None:
            self.thread = min(self._threads, key=lambda thread: (thread.jobs, thread.consumers))
            self.thread.consumers += 1
        if self._look_besides is not None:
            self.thread.look_after_connections(self._look_besides)
            self._look_besides = None
        self.thread.put(job)


def _are_same(one: contextvars.Context, other: contextvars.Context) -> bool:
    """True if the same objects are set in two contexts; others that are equal to them may change on their own."""
    return (
        len(one) == len(other)
        and all(map(operator.is_, one, other))
        and all(map(operator.is_, one.values(), other.values()))
    )


def _prepared(
    loop: asyncio.AbstractEventLoop,
    tasks: list[asyncio.Task[Any]],
    context: contextvars.Context,
    known: bool,
    function: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Call a function in the thread and in the context that are meant for it."""
    prepare_thread(loop, tasks)
    if not known and has_locals(context):
        adopt_context(context)
    return function(*args, **kwargs)


def _settle(slot: _Slot[Any], outcome: object, failure: BaseException | None) -> None:
    future = slot[0]
    if future.done():
        return
    if failure is None:
        future.set_result(outcome)
    else:
        future.set_exception(failure)


def _ask(future: asyncio.Future[Any]) -> None:
    """Ask for the exception, or asyncio logs that nobody has."""
    if not future.cancelled():
        future.exception()


_ticket = cast("ContextVar[_Ticket | None]", connections_caretaker)
"""The ticket of the consumer that is run in this context."""


def keeping_shared_connections() -> AbstractContextManager[None]:
    """A block in which the calling thread's old connections stay open if other consumers share the thread."""
    ticket = _ticket.get()
    return (
        ticket.thread.keeping_shared(besides=1) if ticket is not None and ticket.thread is not None else nullcontext()
    )


class _Context(ThreadSensitiveContext):
    """Key by which asgiref looks up the executor of a consumer."""


class SyncThreads(SyncSide):
    """Gives each ``async def`` consumer a thread for its sync code: queries, sessions, signals.

    Args:
        threads: how many there are; also the most database connections that these consumers use.
    """

    CLOSE_SECONDS = 1.0
    """Longest wait at the end for threads that are still busy."""

    def __init__(self, threads: int) -> None:
        self._threads = [_Thread(number) for number in range(1, threads + 1)]

    def enter(self) -> None:
        """See `SyncSide.enter`."""
        context, ticket = _Context(), _Ticket(self._threads)
        run_in(cast(Executor, ticket), context)
        _ticket.set(ticket)

    def leave(self) -> None:
        """See `SyncSide.leave`; old connections are closed in the consumer's thread, if it used one."""
        ticket = _ticket.get()
        if ticket is not None:
            ticket.give_back()

    def hung(self, seconds: float) -> list[threading.Thread]:
        """See `SyncSide.hung`."""
        return [one.thread for one in self._threads if one.is_hung(seconds)]

    async def run(self, function: Callable[[], T]) -> T:
        """See `SyncSide.run`; the thread is the consumer's own."""
        return await sync_to_async(function)()

    def close(self) -> None:
        """See `SyncSide.close`; closes the database connections."""
        for thread in self._threads:
            thread.end()
        deadline = time.monotonic() + self.CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
