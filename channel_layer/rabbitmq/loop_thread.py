"""The thread in which everything of a layer object that talks to RabbitMQ runs, for the callers of all others.

AMQP wants heartbeats and answers from a client at any time, also while its threads run code of an application. So one
event loop in a thread of its own has the connections, and callers in threads and in other event loops wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_log = logging.getLogger("channel_layer.rabbitmq")


class LoopThread:
    """An event loop in a daemon thread, which begins with the first call. Thread-safe."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._awaited: set[Future[Any]] = set()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._of_parents: list[asyncio.AbstractEventLoop] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop and wait for it; blocks."""
        future = self._begin(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # the caller was interrupted; a coroutine that has ended does not notice
            raise
        finally:
            self._awaited.discard(future)

    async def arun(self, work: Callable[[], Coroutine[Any, Any, T]], regret: Callable[[T], None] | None = None) -> T:
        """Async form of `run`, for any other event loop. A cancelled caller cancels the coroutine.

        Args:
            regret: called in the loop with a result that the caller was cancelled too late for, and does not get.
        """
        call = _Call(work, regret)
        future = self._begin(call.run())
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            self.soon(call.withdraw)
            raise
        finally:
            self._awaited.discard(future)

    @property
    def is_idle(self) -> bool:
        """Nobody waits for a call. Those whose callers were cancelled may be about to end; see `withdrawn`."""
        with self._lock:
            return not self._awaited

    async def withdrawn(self, seconds: float) -> None:
        """Wait up to ``seconds`` for the end of all other calls; to be called in the loop, when it `is_idle`."""
        others = self._under_way - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=seconds)

    def stop(self) -> None:
        """End the thread, unless somebody waits for a call; the next begins another one. Blocks until it has ended."""
        with self._lock:
            loop, thread = self._loop, self._thread
            if loop is None or thread is None or self._awaited:
                return
            self._loop = self._thread = None
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    def soon(self, callback: Any, *arguments: Any) -> None:
        """Have a function called in the loop, if there is one."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(callback, *arguments)

    def forget(self) -> None:
        """Begin anew in a forked process, which has no such thread.

        The loop is kept, because what waits in it would otherwise be collected, and close connections of the parent.
        """
        if self._loop is not None:
            self._of_parents.append(self._loop)
        self._lock = threading.Lock()
        self._loop = self._thread = None
        self._awaited = set()
        self._under_way = set()

    def _begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.set_exception_handler(_log_quietly)
                self._thread = threading.Thread(target=_run, args=(self._loop,), name=self._name, daemon=True)
                self._thread.start()
            future = asyncio.run_coroutine_threadsafe(self._known(work), self._loop)
            self._awaited.add(future)
        return future

    async def _known(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            return await work
        finally:
            self._under_way.discard(task)


class _Call(Generic[T]):
    """A call whose caller may be cancelled; everything happens in the loop that it runs in."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]], regret: Callable[[T], None] | None) -> None:
        self._work = work
        self._regret = regret
        self._task: asyncio.Task[Any] | None = None
        self._is_withdrawn = False
        self._results: list[T] = []

    async def run(self) -> T:
        """Run it."""
        if self._is_withdrawn:  # before the loop came to it
            raise asyncio.CancelledError
        self._task = asyncio.current_task()
        self._results.append(await self._work())
        return self._results[0]

    def withdraw(self) -> None:
        """Nobody waits for it any more."""
        self._is_withdrawn = True
        if self._results and self._regret is not None:
            self._regret(self._results[0])
        elif self._task is not None:
            self._task.cancel()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is stopped, and let what is under way in it end."""
    loop.run_forever()
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


async def undisturbed(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, even if the caller is cancelled meanwhile.

    What it has told a broker would otherwise have an answer that nobody hears.
    """
    return await asyncio.shield(beside(work))


def beside(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Begin to run a coroutine that nobody may wait for, and keep it until it has ended."""
    task = asyncio.create_task(work)
    _running.add(task)
    task.add_done_callback(_end)
    return task


_running: set[asyncio.Future[Any]] = set()


def _end(task: asyncio.Future[Any]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # the caller may have gone


def _log_quietly(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """pika fails assertions of its own when a connection is given up while it is made."""
    _log.debug("%s", context.get("message"), exc_info=context.get("exception"))
