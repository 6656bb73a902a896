"""``async def`` consumers on the event loop of a worker: many at a time, beside the threads.

A helper thread starts with the first coroutine. What is to be sent when one has ended, and who wants to hear
of it, is its business, lest the loop be held up.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from . import event_loop
from .event_loop import EventLoop
from .notices import Run
from .runner import Begun, Finished
from .slots import Slots
from .sync_side import SyncSide

logger = logging.getLogger(__name__)

OnFinished = Callable[[Finished, float], None]
"""What is done with a finished consumer and the seconds it took; called in the helper thread."""


class _Run:
    """One consumer on its way through the loop. Belongs to the loop's thread once it has begun."""

    __slots__ = ("begun", "finished", "finishing", "reported", "seconds", "started", "task")

    def __init__(self, begun: Begun, started: float) -> None:
        self.begun = begun
        self.started = started
        self.seconds = 0.0
        self.finishing = False
        self.reported = False
        self.task: asyncio.Task[None] | None = None
        self.finished: Finished | None = None


class Tasks:
    """Runs the coroutines of a worker, at most as many at a time as there are slots.

    Args:
        loop: the worker's event loop.
        slots: shared with whoever fetches messages.
        sync_side: where sync code around a coroutine runs.
        on_finished: see `OnFinished`.
        flush: sends what finished consumers left to send.
    """

    def __init__(
        self,
        loop: EventLoop,
        slots: Slots,
        sync_side: SyncSide,
        on_finished: OnFinished,
        flush: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._slots = slots
        self._sync_side = sync_side
        self._on_finished = on_finished
        self._flush = flush
        self._lock = threading.Lock()
        self._helper: threading.Thread | None = None
        self._running: dict[_Run, None] = {}
        self._waiting: deque[_Run] = deque()
        self._done: queue.SimpleQueue[_Run | None] = queue.SimpleQueue()

    @property
    def is_idle(self) -> bool:
        """Whether all coroutines have ended and what they sent has been taken over."""
        return not self._slots.taken

    def begin(self, begun: Begun) -> None:
        """Take over a consumer; returns at once. The caller has taken a slot for it."""
        if self._helper is None:
            self._start_helper()
        self._waiting.append(_Run(begun, time.perf_counter()))
        self._loop.get().call_soon_threadsafe(self._admit)

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
        """Report coroutines that have run for so long, each once."""
        now = time.perf_counter()
        for run in list(self._running):
            if now - run.started >= seconds and not run.reported and run.task is not None:
                run.reported = True
                logger.warning(
                    "%s has run for %.3g s for a message on %s and keeps one of %d places for coroutines\n%s",
                    run.begun.name, now - run.started, run.begun.delivery.channel, self._slots.most, _where(run.task),
                )  # fmt: skip

    # -- the end ---------------------------------------------------------------------------------

    def close(self) -> bool:
        """Cancel what still runs, and end the helper. Blocks for one and a half `CANCEL_SECONDS` at most.

        Returns:
            Whether nothing had to be cancelled.
        """
        with self._lock:
            helper = self._helper
        if helper is None:
            return True
        unfinished = not self.is_idle
        if (loop := self._loop.running) is not None:
            loop.call_soon_threadsafe(self._cancel)
        deadline = time.monotonic() + event_loop.CANCEL_SECONDS
        while not self.is_idle and time.monotonic() < deadline:
            time.sleep(0.005)
        for run in list(self._running):
            logger.error("%s on %s does not end although it was cancelled, and is left behind",
                         run.begun.name, run.begun.delivery.channel)  # fmt: skip
        self._done.put(None)
        helper.join(event_loop.CANCEL_SECONDS / 2)
        return not unfinished

    def _cancel(self) -> None:
        for run in self._running:
            # A moment later, because a task that is cancelled before its first step does not even begin.
            asyncio.get_running_loop().call_soon(self._cancel_run, run)

    def _cancel_run(self, run: _Run) -> None:
        if run.task is not None and not run.finishing:
            logger.error("%s on %s has not ended in time and is cancelled", run.begun.name, run.begun.delivery.channel)
            run.task.cancel()

    def _start_helper(self) -> None:
        with self._lock:
            if self._helper is None:
                helper = threading.Thread(target=self._send, name="worker-async-sender", daemon=True)
                helper.start()
                self._helper = helper

    # -- in the loop's thread --------------------------------------------------------------------

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
        children = event_loop.track_tasks()
        error: BaseException | None = None
        result = None
        try:
            self._sync_side.enter()
            result = await run.begun.coroutine
        except BaseException as caught:  # SystemExit and the like end the consumer, not the loop
            error = caught
        run.finishing = True
        run.seconds = time.perf_counter() - run.started
        try:
            if children:  # nobody would send what they send
                await event_loop.end_tasks(children)
            if run.begun.blocks(error):
                run.finished = await self._sync_side.run(lambda: run.begun.finish(error, result))
            else:
                run.finished = run.begun.finish(None, result)
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


def _where(task: asyncio.Task[Any]) -> str:
    """What a task waits for, as far down as its coroutines go."""
    lines = []
    awaited: Any = task.get_coro()
    while awaited is not None and (frame := getattr(awaited, "cr_frame", None)) is not None:
        lines += traceback.format_stack(frame, limit=1)
        awaited = awaited.cr_await
    return "".join(lines)
