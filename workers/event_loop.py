"""The event loop of a worker, in a thread of its own.

Loop and thread start when the loop is first asked for. It runs coroutines and nothing that blocks.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from channel_layer.event_loops import new_event_loop

from .stacks import log_with_stack

T = TypeVar("T")

logger = logging.getLogger(__name__)

HELD_UP_SECONDS = 1.0
"""The time that a coroutine may keep the event loop from all others before that is reported."""

CANCEL_SECONDS = 2.0
"""The time that cancelled coroutines may take to end."""


class TaskOwner(Protocol):
    """Somebody who wants to know when tasks of its own have ended."""

    def tasks_over(self) -> None:
        """The last one that still ran has ended."""


class OwnTasks:
    """The tasks that were made in a context and still run.

    An object in place of a set: that of an application without tasks of its own, which is nearly every one, is small.

    Args:
        owner: hears when none runs any more.
    """

    __slots__ = ("_owner", "running")

    def __init__(self, owner: TaskOwner | None = None) -> None:
        self._owner = owner
        self.running: tuple[()] | set[asyncio.Task[Any]] = ()

    def add(self, task: asyncio.Task[Any]) -> None:
        """Keep a task until it ends."""
        self.running = self.running or set()
        self.running.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        assert self.running
        self.running.discard(task)
        if not self.running and self._owner is not None:
            self._owner.tasks_over()


NO_TASKS = OwnTasks()
"""Of who has not begun."""

_tracked: ContextVar[OwnTasks | None] = ContextVar("workers_tracked_tasks", default=None)


class EventLoop:
    """Start, watch and end the loop. Thread-safe.

    Args:
        at_end: awaited on the loop when it is closed.
    """

    def __init__(self, at_end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._at_end = at_end
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._asked_at: float | None = None
        self._reported = False

    @property
    def running(self) -> asyncio.AbstractEventLoop | None:
        """The loop, if it has been started."""
        return self._loop

    def get(self) -> asyncio.AbstractEventLoop:
        """The loop; the first call starts it."""
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    loop = new_event_loop()
                    loop.set_task_factory(_make_task)
                    thread = threading.Thread(target=self._run, args=(loop,), name="worker-async", daemon=True)
                    thread.start()
                    self._loop, self._thread = loop, thread
        return self._loop

    @property
    def silent(self) -> float:
        """Seconds since `watch` asked for a heartbeat, if none has come."""
        asked_at = self._asked_at
        return 0.0 if asked_at is None else time.monotonic() - asked_at

    @property
    def current_task(self) -> asyncio.Task[Any] | None:
        """The task that runs at the moment; if the loop is blocked, that blocks it."""
        return None if self._loop is None else asyncio.current_task(self._loop)

    @property
    def stack(self) -> str:
        """The stack of the loop's thread as it is now, for the log."""
        frame = sys._current_frames().get(self._thread.ident or 0) if self._thread is not None else None
        return "".join(traceback.format_stack(frame)) if frame else ""

    def watch(self, busy: bool) -> None:
        """Ask a busy loop for a heartbeat, and report the loop if the last one has not come."""
        if self._asked_at is None:
            if busy and self._loop is not None:
                self._asked_at, self._reported = time.monotonic(), False
                self._loop.call_soon_threadsafe(self._answer)
            return
        silent = self.silent
        if silent >= HELD_UP_SECONDS and not self._reported and self._thread is not None:
            self._reported = True
            log_with_stack(
                logger, logging.WARNING, self.stack,
                "an async def consumer has held up all others for %.3g s: something in it blocks instead of "
                "being awaited", silent,
            )  # fmt: skip

    def close(self) -> None:
        """End the loop and its thread; coroutines that still run are cancelled.

        Blocks for `CANCEL_SECONDS` / 2 at most. May be called again.
        """
        with self._lock:
            loop, thread, self._thread = self._loop, self._thread, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(CANCEL_SECONDS / 2)

    def _answer(self) -> None:
        self._asked_at = None

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        stopped = False
        while not stopped:
            try:
                loop.run_forever()
                stopped = True
            except BaseException:  # SystemExit in a task of somebody's: asyncio passes it on
                logger.exception("the event loop of the async def consumers goes on after an error")
        try:
            loop.run_until_complete(self._wind_up())
        except BaseException:
            logger.exception("the event loop of the async def consumers did not end well")
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    async def _wind_up(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=CANCEL_SECONDS / 4)
        await asyncio.get_running_loop().shutdown_asyncgens()
        await self._at_end()


def track_tasks(owner: TaskOwner | None = None) -> OwnTasks:
    """Track the tasks that are made in the current context from now on; see `OwnTasks`."""
    tasks = OwnTasks(owner)
    _tracked.set(tasks)
    return tasks


async def end_tasks(tasks: OwnTasks) -> None:
    """Cancel tasks and wait for their end."""
    left = tuple(tasks.running)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def stack_of(task: asyncio.Task[Any]) -> str:
    """The stack of a task that waits, as far down as its coroutines go."""
    lines = []
    awaited: Any = task.get_coro()
    while awaited is not None and (frame := getattr(awaited, "cr_frame", None)) is not None:
        lines += traceback.format_stack(frame, limit=1)
        awaited = awaited.cr_await
    return "".join(lines)


def _make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T], **options: Any
) -> asyncio.Task[T]:
    """Make a task, and add it to the tracked tasks of its context."""
    task: asyncio.Task[T] = asyncio.Task(coroutine, loop=loop, **options)
    context = options.get("context")
    tracked = _tracked.get() if context is None else context.get(_tracked)
    if tracked is not None:
        tracked.add(task)
    return task
