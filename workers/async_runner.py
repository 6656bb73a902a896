"""``async def`` consumers on the event loop of a worker: many at a time, beside the threads.

A helper thread starts with the first coroutine. It takes over what finished ones left to send, and calls
``on_finished``, so that neither holds up the loop. It waits for no room: a coroutine that sent to where there is none
keeps its place until there is, and the others go on.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from channel_layer.delivery import Delivery

from . import event_loop
from .async_limit import AsyncLimit
from .event_loop import EventLoop
from .notices import Running
from .runner import Finished, PendingCoroutine
from .stacks import log_with_stack
from .sync_side import SyncSide

logger = logging.getLogger(__name__)

ROOM_SECONDS = 0.01
"""The time between two looks whether there is room again for what finished coroutines sent."""

AtEnd = Callable[[Finished], None]
"""Called on the loop with a consumer that has just finished; must not block."""

OnFinished = Callable[[Finished, float], None]
"""Called in the helper thread after `AtEnd`, with the consumer and the seconds it took. It may wait for the worker's
own layer, but not for room."""

HasRoom = Callable[[Finished], bool]
"""Called in the helper thread after `OnFinished`, again and again until it is true: there is room for more of what the
consumer sent."""

Tell = Callable[[Delivery, object], None]
"""Called with a message that is given up and its reply channel; must not block."""


class _Job:
    """One consumer on its way through the loop. Belongs to the loop's thread once its task has been made."""

    __slots__ = ("consumer", "finished", "finishing", "given_up_at", "reported", "seconds", "started", "task")

    def __init__(self, consumer: PendingCoroutine, started: float) -> None:
        self.consumer = consumer
        self.started = started
        self.seconds = 0.0
        self.finishing = False
        self.reported = False
        self.given_up_at = 0.0
        self.task: asyncio.Task[None] | None = None
        self.finished: Finished | None = None


class AsyncRunner:
    """Run the coroutines of a worker, within its limit.

    Args:
        loop: the worker's event loop.
        limit: shared with the `Fetcher`, which takes the places that are released here.
        sync_side: where sync code around a coroutine runs.
        at_end: see `AtEnd`.
        on_finished: see `OnFinished`.
        has_room: see `HasRoom`.
        flush: sends what finished consumers left to send.
    """

    def __init__(
        self,
        loop: EventLoop,
        limit: AsyncLimit,
        sync_side: SyncSide,
        at_end: AtEnd,
        on_finished: OnFinished,
        has_room: HasRoom,
        flush: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._limit = limit
        self._sync_side = sync_side
        self._at_end = at_end
        self._on_finished = on_finished
        self._has_room = has_room
        self._flush = flush
        self._lock = threading.Lock()
        self._helper: threading.Thread | None = None
        self._running: dict[_Job, None] = {}
        self._waiting: deque[_Job] = deque()
        self._done: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._crowding: list[Finished] = []
        """Those that keep their places until there is room for what they sent."""

    @property
    def is_idle(self) -> bool:
        """True if all coroutines have ended and what they sent has been taken over."""
        return not self._limit.taken

    def begin(self, consumer: PendingCoroutine) -> None:
        """Take over a consumer; returns at once. The caller has taken a place for it."""
        if self._helper is None:
            self._start_helper()
        self._waiting.append(_Job(consumer, time.perf_counter()))
        self._loop.get().call_soon_threadsafe(self._admit)

    def take_back(self, seconds: float) -> list[PendingCoroutine]:
        """Hand back consumers that have waited for so long and not begun; their places are the caller's again."""
        taken_back: list[PendingCoroutine] = []
        latest = time.perf_counter() - seconds
        # The loop takes from this end too, so what was there may be gone a moment later.
        while self._waiting and (job := self._next_waiting()) is not None:
            if job.started > latest:
                self._waiting.appendleft(job)
                break
            taken_back.append(job.consumer)
        return taken_back

    # -- watching over them ----------------------------------------------------------------------

    def running(self) -> list[Running]:
        """List the consumers that are on the loop now."""
        return [(job.started, job.consumer.delivery, job.consumer.reply_channel) for job in list(self._running)]

    def report_hung(self, seconds: float) -> None:
        """Report coroutines that have run for so long, each once."""
        now = time.perf_counter()
        for job in list(self._running):
            if now - job.started >= seconds and not job.reported and job.task is not None:
                job.reported = True
                log_with_stack(
                    logger, logging.WARNING, event_loop.stack_of(job.task),
                    "%s has run for %.3g s for a message on %s and keeps one of %d places for coroutines",
                    job.consumer.name, now - job.started, job.consumer.delivery.channel, self._limit.most,
                )  # fmt: skip

    def give_up(self, seconds: float, tell: Tell) -> list[str]:
        """Cancel coroutines that have run for so long, once each. What they were to send is dropped.

        Args:
            seconds: that they have run.
            tell: called for each on the loop, unless it ends at that moment.

        Returns:
            Names of those that have not ended `CANCEL_SECONDS` after that.
        """
        now = time.perf_counter()
        left: list[str] = []
        for job in list(self._running):
            if now - job.started < seconds or job.task is None or job.finishing:
                continue
            if not job.given_up_at and (loop := self._loop.running) is not None:
                loop.call_soon_threadsafe(self._give_up, job, tell)
            elif job.given_up_at and now - job.given_up_at >= event_loop.CANCEL_SECONDS:
                left.append(job.consumer.name)
        return left

    def lose(self) -> list[tuple[asyncio.Task[Any] | None, Running]]:
        """Give up all that are on the loop, which is blocked; returns them with their tasks."""
        lost = [job for job in list(self._running) if not job.given_up_at]
        for job in lost:
            job.given_up_at = time.perf_counter()
        return [(job.task, (job.started, job.consumer.delivery, job.consumer.reply_channel)) for job in lost]

    # -- the end ---------------------------------------------------------------------------------

    def close(self) -> bool:
        """Cancel what still runs, and end the helper. Blocks for one and a half `CANCEL_SECONDS` at most.

        Returns:
            True if nothing had to be cancelled.
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
        for job in list(self._running):
            logger.error("%s on %s does not end although it was cancelled, and is left behind",
                         job.consumer.name, job.consumer.delivery.channel)  # fmt: skip
        self._done.put(None)
        helper.join(event_loop.CANCEL_SECONDS / 2)
        return not unfinished

    def _cancel(self) -> None:
        for job in self._running:
            # A moment later, because a task that is cancelled before its first step does not even begin.
            asyncio.get_running_loop().call_soon(self._cancel_one, job)

    def _cancel_one(self, job: _Job) -> None:
        if job.task is not None and not job.finishing:
            consumer = job.consumer
            logger.error("%s on %s has not ended in time and is cancelled", consumer.name, consumer.delivery.channel)
            job.task.cancel()

    def _start_helper(self) -> None:
        with self._lock:
            if self._helper is None:
                helper = threading.Thread(target=self._send, name="worker-async-sender", daemon=True)
                helper.start()
                self._helper = helper

    # -- in the loop's thread --------------------------------------------------------------------

    def _admit(self) -> None:
        """Begin those that wait, as far as there is room."""
        while self._waiting and len(self._running) < self._limit.most and (job := self._next_waiting()) is not None:
            self._running[job] = None
            job.task = asyncio.get_running_loop().create_task(self._drive(job), context=job.consumer.context)

    def _give_up(self, job: _Job, tell: Tell) -> None:
        if job.finishing or job.given_up_at or job.task is None:
            return
        job.given_up_at = time.perf_counter()
        consumer = job.consumer
        log_with_stack(
            logger, logging.ERROR, event_loop.stack_of(job.task),
            "%s has run for %.3g s for a message on %s (--consumer-timeout) and is given up",
            consumer.name, job.given_up_at - job.started, consumer.delivery.channel,
        )  # fmt: skip
        tell(consumer.delivery, consumer.reply_channel)
        job.task.cancel()

    def _next_waiting(self) -> _Job | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    async def _drive(self, job: _Job) -> None:
        """Run a coroutine to its end, whatever that is, and pass on what came of it."""
        children = event_loop.track_tasks()
        error: BaseException | None = None
        result = None
        try:
            self._sync_side.enter()
            result = await job.consumer.coroutine
        except BaseException as caught:  # SystemExit and the like end the consumer, not the loop
            error = caught
        job.finishing = True
        job.seconds = time.perf_counter() - job.started
        try:
            if children:  # nobody would send what they send
                await event_loop.end_tasks(children)
            if job.consumer.blocks(error):
                job.finished = await self._sync_side.run(lambda: job.consumer.finish(error, result))
            else:
                job.finished = job.consumer.finish(None, result)
            self._sync_side.leave()
            if not job.given_up_at:
                self._at_end(job.finished)
        except BaseException:
            logger.exception("a message on %s could not be dealt with", job.consumer.delivery.channel)
        finally:
            error = None  # as in Runner
            del self._running[job]
            self._done.put(job)
            self._admit()

    # -- in the helper thread --------------------------------------------------------------------

    def _send(self) -> None:
        """Take over what finished coroutines sent, and send it when no more of them are waiting."""
        while True:
            try:
                job = self._done.get(timeout=ROOM_SECONDS if self._crowding else None)
            except queue.Empty:
                pass
            else:
                if job is None:
                    return
                self._pass_on(job)
            if self._crowding:
                self._look_for_room()
            if self._done.empty():
                self._flush()

    def _pass_on(self, job: _Job) -> None:
        finished = job.finished
        try:
            if finished is not None and not job.given_up_at:
                self._on_finished(finished, job.seconds)
        except BaseException:
            logger.exception("a message on %s could not be dealt with", job.consumer.delivery.channel)
        self._release(finished)

    def _look_for_room(self) -> None:
        crowding, self._crowding = self._crowding, []
        for finished in crowding:
            self._release(finished)

    def _release(self, finished: Finished | None) -> None:
        """Release the place of a coroutine, or keep it while there is no room for what it sent."""
        if finished is None or self._has_room(finished):
            self._limit.release()
        else:
            self._crowding.append(finished)
