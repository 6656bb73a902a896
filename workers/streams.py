"""Streams: long work on the event loop that goes on when its consumer has ended, without a thread.

A consumer returns a `Stream` to have it run. Streams hold no place among the ``async def`` consumers, so
hundreds of quiet ones keep nobody's messages waiting; they have a limit of their own.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextvars import ContextVar

from channel_layer.layer import ChannelLayer
from channel_layer.outbox import stop_collecting

from . import event_loop
from .async_sender import AsyncSender
from .event_loop import EventLoop
from .inbox import Inbox
from .sync_side import SyncSide

logger = logging.getLogger(__name__)

STREAMS = 10_000
"""Streams that a worker runs at a time by default."""

SHARE_AT_STOP = 0.5
"""The part of the grace period that streams without a known end get when the worker stops."""

REFUSAL_LOG_SECONDS = 10.0
"""The shortest time between two lines of the log about streams that are refused."""


class Stream(ABC):
    """Work that a consumer returns to have it run after its end.

    Attributes:
        name: for the log.
        is_finite: true if it has a known end, and so may use the whole grace period when the worker stops.
    """

    name: str
    is_finite: bool = False

    @abstractmethod
    async def run(self) -> None:
        """Do the work. Cancelled when the worker stops; messages sent meanwhile are not held back."""

    @abstractmethod
    def refuse(self) -> None:
        """Called in place of `run`, as if still inside the consumer, if there is no room for the stream."""


class Streams:
    """Run the streams of a worker.

    Args:
        most: at a time.
        layer: the worker's layer.
        loop: the worker's event loop.
        sync_side: runs the sync code around a stream.
        name: of the process, for its inbox.

    Attributes:
        inbox: receives reports about the clients of streams, and of consumers in threads.
        sender: sends for the streams.
        progress: of threads that send a stream, by their identifiers, the time of the last part (`time.perf_counter`).
        is_winding_up: true once the worker stops and the time for streams without a known end is over.
    """

    def __init__(
        self, most: int, layer: ChannelLayer, loop: EventLoop, sync_side: SyncSide, name: str | None = None
    ) -> None:
        self.inbox = Inbox(layer, loop, name)
        self.sender = AsyncSender(layer)
        self.progress: dict[int, float] = {}
        self.is_winding_up = False
        self._most = most
        self._loop = loop
        self._sync_side = sync_side
        self._running: dict[Stream, asyncio.Task[None] | None] = {}
        self._in_threads: dict[Callable[[], None], None] = {}
        self._cancelled: set[Stream] = set()
        self._logged_at = -REFUSAL_LOG_SECONDS

    @property
    def is_idle(self) -> bool:
        """True if there are none."""
        return not self._running

    @property
    def count(self) -> int:
        """Number of those that run."""
        return len(self._running)

    def begin(self, stream: Stream) -> None:
        """Run a stream in a copy of the calling context, or have it refuse; returns at once."""
        if len(self._running) >= self._most:
            now = time.monotonic()
            if now - self._logged_at >= REFUSAL_LOG_SECONDS:
                self._logged_at = now
                logger.warning(
                    "streams are turned away: there are %d, as many as this worker runs (--streams)", self._most
                )
            stream.refuse()
            return
        loop = self._loop.get()
        self._running[stream] = None
        loop.call_soon_threadsafe(self._start, stream, contextvars.copy_context())

    def in_thread(self, break_off: Callable[[], None]) -> Callable[[], None]:
        """Register a stream that a consumer produces in its own thread.

        Args:
            break_off: tells its client that nothing more comes. Called if the worker ends before it has.

        Returns:
            A function to call at its end.
        """
        self._in_threads[break_off] = None
        return lambda: self._in_threads.pop(break_off, None)

    def wind_up(self) -> None:
        """End streams without a known end, those in threads included. May be called again and again."""
        self.is_winding_up = True
        self._cancel([stream for stream in list(self._running) if not stream.is_finite])

    def close(self) -> bool:
        """End all streams. Blocks for `CANCEL_SECONDS` at most.

        Returns:
            True if all have ended.
        """
        self.is_winding_up = True
        self._cancel(list(self._running))
        deadline = time.monotonic() + event_loop.CANCEL_SECONDS
        while self._running and time.monotonic() < deadline:
            time.sleep(0.005)
        for break_off in list(self._in_threads):
            break_off()
        for stream in list(self._running):
            logger.error("%s does not end although it was cancelled, and is left behind", stream.name)
        return not self._running

    def _cancel(self, streams: list[Stream]) -> None:
        fresh = [stream for stream in streams if stream not in self._cancelled]
        loop = self._loop.running
        if not fresh or loop is None:
            return
        logger.info("%d streams are broken off", len(fresh))
        self._cancelled.update(fresh)
        for stream in fresh:
            loop.call_soon_threadsafe(self._cancel_one, stream)

    def _cancel_one(self, stream: Stream) -> None:
        task = self._running.get(stream)
        if task is not None:
            # A moment later, because a task that is cancelled before its first step does not even begin.
            asyncio.get_running_loop().call_soon(task.cancel)

    # -- in the loop's thread --------------------------------------------------------------------

    def _start(self, stream: Stream, context: contextvars.Context) -> None:
        self._running[stream] = asyncio.get_running_loop().create_task(self._drive(stream), context=context)

    async def _drive(self, stream: Stream) -> None:
        stop_collecting()
        children = event_loop.track_tasks()
        try:
            self._sync_side.enter()
            await stream.run()
        except asyncio.CancelledError:
            logger.debug("%s was cancelled", stream.name)
        except BaseException:  # SystemExit and the like end the stream, not the loop
            logger.exception("error in %s", stream.name)
        finally:
            try:
                await event_loop.end_tasks(children)
                self._sync_side.leave()
            finally:
                del self._running[stream]
                self._cancelled.discard(stream)


current_streams: ContextVar[Streams | None] = ContextVar("workers_streams", default=None)
"""The streams of the worker that runs the consumer of this context."""
