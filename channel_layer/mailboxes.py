"""Channels of this process that coroutines wait on, each for its own messages.

A layer hands out what lies on a process-specific reader (``prefix.x!``) to whoever receives next, whichever local part
it is for. So one task for each reader, the *pump*, takes the messages and puts them into a box per channel, where the
coroutines that wait for that channel find them.

The boxes belong to the process and not to an event loop: a message that was taken in one loop is there for the next,
as code wants that calls `asgiref.sync.async_to_sync` more than once. The pump runs in one of the loops that wait. When
nobody waits there any longer another loop takes over, and it is not cancelled in the midst of a receive.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Any

from .backoff import Backoff
from .delivery import Delivery, Message
from .exceptions import LayerUnavailable, clause
from .forks import forget_in_children
from .layer import ChannelLayer

logger = logging.getLogger(__name__)

BATCH = 100
"""Messages to take at once."""

WAIT_SECONDS = 2.0
"""Longest wait of one receive of the pump."""

SIGNS_PER_PRESENCE = 3
"""Number of receives, in the time of ``presence``, of a pump that nobody waits for: they keep the process alive."""

FIRST_RETRY, LAST_RETRY = 0.05, 1.0

Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Mailboxes:
    """The channels of one reader. Thread-safe; any number of event loops may wait at the same time.

    Args:
        layer: what to receive from.
        reader: the channels' name up to and including ``!``.
        capacity: full name of a channel → messages its box holds; what comes when it is full is dropped (counted).
    """

    def __init__(self, layer: ChannelLayer, reader: str, capacity: Callable[[str], int]) -> None:
        self._layer = layer
        self._reader = reader
        self._capacity = capacity
        forget_in_children(self)
        self.forget()

    def forget(self) -> None:
        """Begin anew in a process that was forked: what waits is the other's."""
        self._lock = threading.Lock()
        self._boxes: dict[str, deque[tuple[float, Message]]] = {}
        self._waiters: defaultdict[str, deque[Waiter]] = defaultdict(deque)
        self._waiting: Counter[asyncio.AbstractEventLoop] = Counter()
        self._pump: _Pump | None = None
        self._sweep_due = 0.0

    async def receive(self, channel: str) -> Message:
        """The next message of a channel, for which it waits without limit.

        Cancelling it loses no message. While the layer is unavailable it goes on waiting.

        Raises:
            Exception: what the layer raised, if it is not `LayerUnavailable`.
        """
        loop = asyncio.get_running_loop()
        while True:
            with self._lock:
                message = self._take(channel)
                if message is not None:
                    return message
                waiter: asyncio.Future[None] = loop.create_future()
                entry = (loop, waiter)
                self._waiters[channel].append(entry)
                self._waiting[loop] += 1
                self._have_pump(loop)
            try:
                await waiter
            except BaseException:
                with self._lock:
                    self._withdraw(channel, entry)
                raise

    def clear(self) -> None:
        """Drop what lies in the boxes."""
        with self._lock:
            self._boxes.clear()

    def channels(self) -> dict[str, int]:
        """Channels that are waited for or have something in their box, and how much."""
        with self._lock:
            return {**dict.fromkeys(self._waiters, 0), **{name: len(box) for name, box in self._boxes.items()}}

    def retire(self, loop: asyncio.AbstractEventLoop) -> asyncio.Task[None] | None:
        """Cancel the pump if it runs in ``loop``, and return its task; another loop that waits takes over."""
        with self._lock:
            pump = self._pump
        if pump is None or pump.loop is not loop:
            return None
        pump.task.cancel()
        return pump.task

    # -- for the pump ----------------------------------------------------------------------------

    def is_wanted(self, pump: _Pump) -> bool:
        """True if a coroutine waits for a message in the loop of a pump that no other has replaced.

        If one waits in another loop only, that loop gets a pump in its place.
        """
        with self._lock:
            if self._pump is not pump:
                return False
            if not self._waiting[pump.loop] and self._waiters:
                self._replace(pump)
            return self._waiting[pump.loop] > 0

    def put(self, deliveries: list[Delivery]) -> None:
        """Put what was received into the boxes and wake up those who wait for it."""
        now = time.monotonic()
        with self._lock:
            for delivery in deliveries:
                if delivery.members is None:
                    self._put(delivery.channel, delivery.message, now)
                    continue
                message = delivery.message
                for position, local in enumerate(delivery.members):
                    self._put(delivery.channel + local, copy.deepcopy(message) if position else message, now)
            if now >= self._sweep_due:
                self._sweep(now)

    def fail(self, error: Exception) -> None:
        """Raise an error in all that wait."""
        with self._lock:
            for waiters in self._waiters.values():
                for loop, waiter in waiters:
                    _call(loop, _fail, waiter, error)

    def end(self, pump: _Pump) -> None:
        """Let a pump go; a loop that still waits gets one of its own."""
        with self._lock:
            if self._pump is pump:
                self._replace(pump)

    def is_current(self, pump: _Pump) -> bool:
        """True if no other pump has taken the place of this one."""
        return self._pump is pump

    # -- under the lock --------------------------------------------------------------------------

    def _have_pump(self, loop: asyncio.AbstractEventLoop) -> None:
        pump = self._pump
        # A loop that was left standing, or closed without its tasks being cancelled, moves no message.
        if pump is None or pump.task.done() or not pump.loop.is_running():
            self._pump = _Pump(self, self._layer, self._reader, loop)
        elif pump.loop is loop:
            pump.wanted.set()
        elif not _call(pump.loop, pump.wanted.set):
            self._pump = _Pump(self, self._layer, self._reader, loop)

    def _replace(self, pump: _Pump) -> None:
        self._pump = None
        for loop in [loop for loop, count in self._waiting.items() if count and loop is not pump.loop]:
            if _call(loop, self._have_pump_after, loop):
                return

    def _have_pump_after(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            if self._waiters:
                self._have_pump(loop)

    def _take(self, channel: str) -> Message | None:
        box = self._boxes.get(channel)
        now = time.monotonic()
        found = None
        while box and found is None:
            expires, message = box.popleft()
            if expires > now:
                found = message
            else:
                self._layer.counters.expired += 1
        if box is not None and not box:
            del self._boxes[channel]
        return found

    def _put(self, channel: str, message: Message, now: float) -> None:
        box = self._boxes.get(channel)
        if box is None:
            box = self._boxes[channel] = deque()
        elif len(box) >= self._capacity(channel):
            self._layer.counters.group_full += 1
            return
        box.append((now + self._layer.expiry, message))
        self._wake_one(channel)

    def _wake_one(self, channel: str) -> None:
        """Wake the coroutine that has waited longest; a loop that is closed has nobody left to wake."""
        waiters = self._waiters.get(channel, ())
        while waiters:
            loop, waiter = waiters.popleft()
            self._forget_waiter(loop)
            if not waiter.done() and _call(loop, _wake, waiter):
                break
        if not waiters:
            self._waiters.pop(channel, None)

    def _withdraw(self, channel: str, entry: Waiter) -> None:
        waiters = self._waiters.get(channel)
        if waiters is not None and entry in waiters:
            waiters.remove(entry)
            self._forget_waiter(entry[0])
            if not waiters:
                del self._waiters[channel]
        elif channel in self._boxes:
            self._wake_one(channel)  # it was woken before it was cancelled, and leaves its message to the next

    def _forget_waiter(self, loop: asyncio.AbstractEventLoop) -> None:
        self._waiting[loop] -= 1
        if not self._waiting[loop]:
            del self._waiting[loop]

    def _sweep(self, now: float) -> None:
        """Drop what nobody came for in time."""
        self._sweep_due = now + self._layer.expiry
        for channel, box in list(self._boxes.items()):
            while box and box[0][0] <= now:
                box.popleft()
                self._layer.counters.expired += 1
            if not box:
                del self._boxes[channel]


class _Pump:
    """A task that receives for all channels of a reader.

    While nobody in its loop waits it takes no message, except now and then to show that the process is alive: a loop
    that ends cancels its tasks, and a receive that is cancelled may lose what it was about to return.
    """

    def __init__(self, boxes: Mailboxes, layer: ChannelLayer, reader: str, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.wanted = asyncio.Event()
        self.task = loop.create_task(self._run(boxes, layer, reader), name=f"messages on {reader}")

    async def _run(self, boxes: Mailboxes, layer: ChannelLayer, reader: str) -> None:
        retries = Backoff(FIRST_RETRY, LAST_RETRY)
        sign_seconds = layer.presence / SIGNS_PER_PRESENCE
        try:
            while boxes.is_current(self):
                self.wanted.clear()
                wanted = boxes.is_wanted(self)
                if not wanted and (not boxes.is_current(self) or await _is_set(self.wanted, sign_seconds)):
                    continue
                try:
                    deliveries = await layer.areceive_batch([reader], BATCH, WAIT_SECONDS if wanted else 0)
                except LayerUnavailable as error:
                    if retries.fresh:
                        logger.warning("%s; trying again until it answers", clause(error))
                    await asyncio.sleep(retries.next())
                    continue
                except Exception as error:
                    boxes.fail(error)
                    return
                retries.reset()
                boxes.put(deliveries)
        finally:
            boxes.end(self)


async def _is_set(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *arguments: Any) -> bool:
    """Call a function in a loop, soon; returns whether the loop can."""
    if loop is asyncio._get_running_loop():
        loop.call_soon(function, *arguments)
        return True
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:  # it is closed
        return False
    return True


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _fail(waiter: asyncio.Future[None], error: Exception) -> None:
    if not waiter.done():
        waiter.set_exception(error)
