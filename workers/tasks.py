"""The event loop of a worker: ``async def`` consumers run on it, many at a time, beside the threads.

Loop and helper thread start with the first coroutine. The loop runs coroutines and nothing that blocks:
what is to be sent when one has ended, and who wants to hear of it, is the helper thread's business.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from .notices import Run
from .runner import Begun, Finished
from .slots import Slots
from .sync_side import SyncSide

logger = logging.getLogger(__name__)

HELD_UP_SECONDS = 1.0
"""For how long a coroutine may keep the event loop from all others before that is reported."""

CANCEL_SECONDS = 2.0
"""How long coroutines that are cancelled may take to end."""

OnFinished = Callable[[Finished, float], None]
"""What is done with a finished consumer and the seconds it took; called in the helper thread."""


class _Run:
    """One consumer on its way through the loop. Belongs to the loop's thread once it has begun."""

    __slots__ = ("begun", "children", "finished", "finishing", "reported", "seconds", "started", "task")

    def __init__(self, begun: Begun, started: float) -> None:
        self.begun = begun
        self.started = started
        self.seconds = 0.0
        self.children: set[asyncio.Task[Any]] = set()
        self.finishing = False
        self.reported = False
        self.task: asyncio.Task[None] | None = None
        self.finished: Finished | None = None


_run: ContextVar[_Run | None] = ContextVar("workers_run", default=None)
"""The run to which a task on the loop belongs."""


class Tasks:
    """Runs the coroutines of a worker, at most as many at a time as there are slots.

    Args:
        slots: shared with whoever fetches messages.
        sync_side: where sync code around a coroutine runs.
        on_finished: see `OnFinished`.
        flush: sends what finished consumers left to send.
        at_end: awaited on the loop when it is closed.
    """

    def __init__(
        self,
        slots: Slots,
        sync_side: SyncSide,
        on_finished: OnFinished,
        flush: Callable[[], None],
        at_end: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._slots = slots
        self._sync_side = sync_side
        self._on_finished = on_finished
        self._flush = flush
        self._at_end = at_end
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: list[threading.Thread] = []
        self._running: dict[_Run, None] = {}
        self._waiting: deque[_Run] = deque()
        self._done: queue.SimpleQueue[_Run | None] = queue.SimpleQueue()
        self._asked_at: float | None = None
        self._reported_stall = False

    @property
    def is_idle(self) -> bool:
        """Whether all coroutines have ended and what they sent has been taken over."""
        return not self._slots.taken

    def begin(self, begun: Begun) -> None:
        """Take over a consumer; returns at once. The caller has taken a slot for it."""
        loop = self._loop or self._start()
        self._waiting.append(_Run(begun, time.perf_counter()))
        loop.call_soon_threadsafe(self._admit)

    def turn_away(self, seconds: float) -> list[Begun]:
        """Consumers that have waited for so long and not begun; they and their slots are the caller's again."""
        turned_away: list[Begun] = []
        latest = time.perf_counter() - seconds
        # The loop takes from this end too, so what was there may be gone a moment later.
        while self._waiting and (run := self._next_waiting()) is not None:
            if run.started > latest:
                self._waiting.appendleft(run)
                break
            turned_away.append(run.begun)
        return turned_away

    # -- watching over them ----------------------------------------------------------------------

    def running(self) -> list[Run]:
        """The consumers that are on the loop now."""
        return [(run.started, run.begun.delivery, run.begun.reply_channel) for run in list(self._running)]

    def report_hung(self, seconds: float) -> None:
        """Report coroutines that have run for so long, each once, and a loop that is held up."""
        if self._loop is None:
            return
        now = time.perf_counter()
        for run in list(self._running):
            if now - run.started >= seconds and not run.reported and run.task is not None:
                run.reported = True
                logger.warning(
                    "%s has run for %.3g s for a message on %s and keeps one of %d places for coroutines\n%s",
                    run.begun.name, now - run.started, run.begun.delivery.channel, self._slots.most, _where(run.task),
                )  # fmt: skip
        self._report_stall(now)

    def _report_stall(self, now: float) -> None:
        """Ask the loop for a sign of life; see whether the last one came."""
        asked_at = self._asked_at
        if asked_at is None:
            if self._running and self._loop is not None:
                self._asked_at, self._reported_stall = now, False
                self._loop.call_soon_threadsafe(self._answer)
        elif now - asked_at >= HELD_UP_SECONDS and not self._reported_stall:
            self._reported_stall = True
            frame = sys._current_frames().get(self._threads[0].ident or 0)
            stack = "".join(traceback.format_stack(frame)) if frame else ""
            logger.warning(
                "an async def consumer has held up all others for %.3g s: something in it blocks instead of "
                "being awaited\n%s", now - asked_at, stack,
            )  # fmt: skip

    def _answer(self) -> None:
        self._asked_at = None

    # -- the end ---------------------------------------------------------------------------------

    def close(self) -> bool:
        """Cancel what still runs, and end the threads. Blocks for twice `CANCEL_SECONDS` at most.

        Returns:
            Whether nothing had to be cancelled.
        """
        with self._lock:
            loop = self._loop
        if loop is None:
            return True
        unfinished = not self.is_idle
        loop.call_soon_threadsafe(self._cancel)
        deadline = time.monotonic() + CANCEL_SECONDS
        while not self.is_idle and time.monotonic() < deadline:
            time.sleep(0.005)
        for run in list(self._running):
            logger.error("%s on %s does not end although it was cancelled, and is left behind",
                         run.begun.name, run.begun.delivery.channel)  # fmt: skip
        self._done.put(None)
        loop.call_soon_threadsafe(loop.stop)
        for thread in self._threads:
            thread.join(CANCEL_SECONDS / 2)
        return not unfinished

    def _cancel(self) -> None:
        for run in self._running:
            # A moment later, because a task that is cancelled before its first step does not even begin.
            asyncio.get_running_loop().call_soon(self._cancel_run, run)

    def _cancel_run(self, run: _Run) -> None:
        if run.task is not None and not run.finishing:
            logger.error("%s on %s has not ended in time and is cancelled", run.begun.name, run.begun.delivery.channel)
            run.task.cancel()

    # -- in the loop's thread --------------------------------------------------------------------

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                loop.set_task_factory(_make_task)
                self._threads = [
                    threading.Thread(target=self._run_loop, args=(loop,), name="worker-async", daemon=True),
                    threading.Thread(target=self._send, name="worker-async-sender", daemon=True),
                ]
                for thread in self._threads:
                    thread.start()
                self._loop = loop
            return self._loop

    def _run_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        stopped = False
        while not stopped:
            try:
                loop.run_forever()
                stopped = True
            except BaseException:  # SystemExit in a task of somebody's: asyncio passes it on
                logger.exception("the event loop of the async def consumers goes on after an error")
        try:
            loop.run_until_complete(self._close_loop(loop))
        except BaseException:
            logger.exception("the event loop of the async def consumers did not end well")
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    async def _close_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=CANCEL_SECONDS / 4)
        await loop.shutdown_asyncgens()
        await self._at_end()

    def _admit(self) -> None:
        """Begin those that wait, as far as there is room."""
        while self._waiting and len(self._running) < self._slots.most and (run := self._next_waiting()) is not None:
            self._running[run] = None
            run.task = asyncio.get_running_loop().create_task(self._drive(run), context=run.begun.context)

    def _next_waiting(self) -> _Run | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    async def _drive(self, run: _Run) -> None:
        """Run a coroutine to its end, whatever that is, and pass on what came of it."""
        _run.set(run)
        error: BaseException | None = None
        try:
            self._sync_side.enter()
            await run.begun.coroutine
        except BaseException as caught:  # SystemExit and the like end the consumer, not the loop
            error = caught
        run.finishing = True
        run.seconds = time.perf_counter() - run.started
        try:
            if run.children:
                await _end(run.children)
            if run.begun.blocks(error):
                run.finished = await self._sync_side.run(lambda: run.begun.finish(error))
            else:
                run.finished = run.begun.finish(None)
            self._sync_side.leave()
        except BaseException:
            logger.exception("a message on %s could not be dealt with", run.begun.delivery.channel)
        finally:
            error = None  # as in Runner
            del self._running[run]
            self._done.put(run)
            self._admit()

    # -- in the helper thread --------------------------------------------------------------------

    def _send(self) -> None:
        """Take over what finished coroutines sent, and send it when no more of them are waiting."""
        while (run := self._done.get()) is not None:
            self._take_over(run)
            if self._done.empty():
                self._flush()

    def _take_over(self, run: _Run) -> None:
        try:
            if run.finished is not None:
                self._on_finished(run.finished, run.seconds)
        except BaseException:
            logger.exception("a message on %s could not be dealt with", run.begun.delivery.channel)
        finally:
            self._slots.release()


def _make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """Make a task and note for which consumer it works: when that has ended, its tasks shall end too."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
    context = options.get("context")
    run = _run.get() if context is None else context.get(_run)
    if run is not None:
        run.children.add(task)
        task.add_done_callback(run.children.discard)
    return task


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel the tasks that a consumer leaves behind: nobody would send what they send."""
    left = set(tasks)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def _where(task: asyncio.Task[Any]) -> str:
    """What a task waits for, as far down as its coroutines go."""
    lines = []
    awaited: Any = task.get_coro()
    while awaited is not None and (frame := getattr(awaited, "cr_frame", None)) is not None:
        lines += traceback.format_stack(frame, limit=1)
        awaited = awaited.cr_await
    return "".join(lines)
