"""Consumers that hang: they are given up, those who wait for them are told, and the process is replaced.

- A thread cannot be ended from outside. What it brings back later is dropped.
- A coroutine, and a handler of a hosted application, is cancelled, which is enough if it ends then.
- An event loop that one coroutine blocks is lost with everything on it.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final

from channel_layer.codec import EMPTY
from channel_layer.delivery import Delivery, Headers, Outgoing
from channel_layer.exceptions import ChannelLayerError
from channel_layer.layer import ChannelLayer
from channel_layer.messages import CONNECT, RECEIVE
from channel_layer.names import check_channel

from .async_runner import AsyncRunner
from .event_loop import EventLoop
from .instances import Instances
from .stacks import log_with_stack
from .sync_side import SyncSide
from .watchdog import STALL_SECONDS

logger = logging.getLogger(__name__)

INTERNAL_ERROR: Final = 1011
"""Close code of a WebSocket whose consumer hung (RFC 6455, section 7.4.1)."""

REASON: Final = "the server gave up on a message"

Busy = dict[Delivery, tuple[threading.Thread, float, object]]
"""Messages that threads work on: the thread, its start (`time.perf_counter`), the reply channel named then. Whoever
takes an entry out, the thread at the end of the consumer or `Hangs`, has the word about how it ended."""


class Hangs:
    """Look for consumers that have run for too long. Used by the thread that looks after the worker.

    Args:
        seconds: the time that a consumer, or a handler of one event, may take.
        layer: the layer that the messages come from.
        busy: the messages in threads.
        progress: of threads that send a long response, when they sent the last part of it.
        async_runner, instances, loop, sync_side: of the worker.
        send: takes over a message to a layer without waiting for anything.
        replace: has the process replaced, for a reason.

    Attributes:
        threads: those that were given up, with the channels of their messages.
        has_lost_loop: true once the event loop is given up.
    """

    def __init__(
        self,
        seconds: float,
        layer: ChannelLayer,
        busy: Busy,
        progress: dict[int, float],
        async_runner: AsyncRunner,
        instances: Instances,
        loop: EventLoop,
        sync_side: SyncSide,
        send: Callable[[ChannelLayer, Outgoing], None],
        replace: Callable[[str], None],
    ) -> None:
        self.threads: dict[threading.Thread, str] = {}
        self.has_lost_loop = False
        self._seconds = seconds
        self._layer = layer
        self._busy = busy
        self._progress = progress
        self._async_runner = async_runner
        self._instances = instances
        self._loop = loop
        self._sync_side = sync_side
        self._send = send
        self._replace = replace
        self._known: set[threading.Thread] = set()
        self._looked: float | None = None
        self._went_on: float | None = None

    def look(self) -> None:
        """Give up what has run for too long.

        A process that stood still, on a machine that was frozen or much too busy, did so with all its consumers. They
        get their time once more, but not again and again: a consumer that holds the interpreter looks the same.
        """
        now = time.perf_counter()
        stood_still = self._looked is not None and now - self._looked >= min(STALL_SECONDS, self._seconds / 2)
        self._looked = now
        if stood_still and (self._went_on is None or now - self._went_on >= 2 * self._seconds):
            self._went_on = now
        if self._went_on is not None and now - self._went_on < self._seconds:
            return
        self._look_at_threads(now)
        self._look_at_sync_side()
        if not self.has_lost_loop and self._loop.silent >= self._seconds:
            self._lose_loop()
        if not self.has_lost_loop:
            for name in self._async_runner.give_up(self._seconds, self._tell):
                self._replace(f"{name} does not end although it was cancelled")
            for name in self._instances.give_up_hung(self._seconds):
                self._replace(f"{name} does not end although it was cancelled")

    def _look_at_threads(self, now: float) -> None:
        for delivery, (thread, started, reply) in list(self._busy.items()):
            spent = now - max(started, self._progress.get(thread.ident or 0, 0.0))
            if spent < self._seconds or self._busy.pop(delivery, None) is None:
                continue
            self.threads[thread] = delivery.channel
            self._replace(f"{thread.name} hangs in a consumer of {delivery.channel}")
            log_with_stack(
                logger, logging.ERROR, stack_of_thread(thread),
                "%s has been in a consumer of %s for %.3g s (--consumer-timeout) and is given up",
                thread.name, delivery.channel, spent,
            )  # fmt: skip
            self._tell(delivery, reply)

    def _look_at_sync_side(self) -> None:
        for thread in self._sync_side.hung(self._seconds):
            if thread not in self._known:
                self._known.add(thread)
                self._replace(f"{thread.name} hangs in a call of async code")
                log_with_stack(
                    logger, logging.ERROR, stack_of_thread(thread),
                    "%s has been in one call of async code for %.3g s (--consumer-timeout) and is given up",
                    thread.name, self._seconds,
                )  # fmt: skip

    def _lose_loop(self) -> None:
        """Tell all who wait for something on an event loop that is blocked."""
        self.has_lost_loop = True
        blocking = self._loop.current_task
        self._replace("its event loop is blocked")
        log_with_stack(
            logger, logging.ERROR, self._loop.stack,
            "the event loop of async def consumers has been blocked for %.3g s (--consumer-timeout): it is lost",
            self._loop.silent,
        )  # fmt: skip
        for task, (_, delivery, reply) in self._async_runner.lose():
            self._tell(delivery, reply, hangs=task is blocking)
        if (last := self._instances.last_word_of(blocking)) is not None:
            self._send(self._layer, last)

    def _tell(self, delivery: Delivery, reply: object, hangs: bool = True) -> None:
        """Tell who waits for the answer to a message that there will be none."""
        try:
            for item in answers(self._layer, delivery, reply, hangs):
                self._send(self._layer, item)
        except ChannelLayerError as error:
            logger.error("a sender cannot be told that its message was given up: %s", error)


def answers(layer: ChannelLayer, delivery: Delivery, reply: object, hangs: bool) -> list[Outgoing]:
    """Messages that end the waiting for a message's consumer: a request fails, a WebSocket is closed if it hangs.

    Args:
        layer: where the message came from.
        delivery: the message.
        reply: the reply channel that it named.
        hangs: false if it is lost because of another message: then a WebSocket goes on with the next one.

    Raises:
        ChannelLayerError: the reply channel is not a name.
    """
    headers = delivery.headers or {}
    if reply is None or not ("turn" in headers or "flow" in headers or delivery.channel == RECEIVE):
        return []  # nobody waits
    target = check_channel(reply)
    failed: Headers = {"turn": headers["turn"], "failed": True} if "turn" in headers else {"failed": True}
    close = {"close": INTERNAL_ERROR, "reason": REASON}
    if not hangs or not ("turn" in headers or delivery.channel == RECEIVE):
        return [Outgoing(target, EMPTY, failed)]
    if delivery.channel == CONNECT:
        # A handshake that is still open is answered with 500 by the first, and takes no notice of the second.
        return [Outgoing(target, EMPTY, failed), layer.prepare(target, close)]
    return [layer.prepare(target, close, failed if "turn" in headers else None)]


def stack_of_thread(thread: threading.Thread) -> str:
    """The stack of a thread as it is now, for the log."""
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame else ""
