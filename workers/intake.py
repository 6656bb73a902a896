"""Getting messages to the threads of a worker, each at the right moment.

One thread at a time fetches; the others stand by. When consumers are fast, a fetch may bring several
messages (`Pace` decides), and the thread that fetched runs them one after the other: handing fast
messages from thread to thread would cost more than running them. When consumers are slow, the
thread that fetched calls the next one in before it runs its message. And since a fast consumer may
be slow for once, one of those standing by keeps watch: if a consumer has not come back within
`WATCH_SECONDS`, it takes over the next message, or the fetching. When all threads are busy, messages
that nobody has begun go back to the front of their channel, for other workers.

Coroutines run elsewhere, so many at a time as there are `Slots`. While all are taken, their channels are
left out of the fetching, and what was fetched from them goes back.

A thread sends what finished consumers left to send before it waits for anything. The one that fetches
sends and fetches in one round trip, if the layer can.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from itertools import groupby
from typing import Any, Protocol

from channel_layer.delivery import Delivery
from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable, clause

from .slots import Slots

logger = logging.getLogger(__name__)

FETCH_SECONDS = 5.0
"""How long one fetch waits for a message."""

LEFT_OUT_SECONDS = 1.0
"""The same while some channels are left out, for layers whose waiting cannot be interrupted."""

WATCH_SECONDS = 0.002
"""How long a consumer may take before another thread steps in."""

WATCH_ROUNDS = 25
"""How many idle rounds the watch goes on before it sleeps until it is called."""

LONGEST_BACKOFF = 1.0


class Pace:
    """How many messages to fetch at once, going by how long consumers took of late.

    A slow consumer counts at once and is forgotten gradually, so that a mixture of fast and slow
    ones is treated as slow.
    """

    TARGET_SECONDS = 0.004
    MOST = 64
    SLOW_SECONDS = 0.0005
    """From this duration on, waking another thread is cheap compared with what it can do meanwhile."""

    def __init__(self) -> None:
        self._seconds = self.TARGET_SECONDS

    def record(self, seconds: float) -> None:
        """A consumer took so long."""
        if seconds > self._seconds:
            self._seconds = seconds
        else:
            self._seconds += (seconds - self._seconds) * 0.1

    @property
    def limit(self) -> int:
        """Messages to fetch at once."""
        return max(1, min(self.MOST, int(self.TARGET_SECONDS / (self._seconds + 1e-9))))

    @property
    def is_slow(self) -> bool:
        """Whether several threads get more done than one."""
        return self._seconds >= self.SLOW_SECONDS


class Sends(Protocol):
    """What finished consumers left to send; see `workers.sender.Sender`."""

    def flush(self) -> None:
        """Send it. Does not raise."""

    def receive(self, layer: Any, channels: list[str], limit: int, timeout: float) -> list[Delivery]:
        """Send it and receive messages."""


class Intake:
    """Hands out messages to the threads that call `next`.

    Args:
        layer: where messages come from.
        channels: what to listen on.
        sender: what finished consumers left to send; sent before a thread waits for anything, and by one
            that steps in for a slow one.
        slots: places for coroutines.
    """

    def __init__(self, layer: Any, channels: list[str], sender: Sends, slots: Slots | None = None) -> None:
        self.pace = Pace()
        self._layer = layer
        self._channels = channels
        self._sender = sender
        self._slots = slots if slots is not None else Slots(1)
        self._lock = threading.Lock()
        self._sleepers = threading.Condition(self._lock)
        self._watcher = threading.Condition(self._lock)
        self._ready: deque[Delivery] = deque()
        self._turned_away: list[Delivery] = []
        self._leaves_out = False
        self._fetching = False
        self._watching = False
        self._watcher_asleep = False
        self._called_in = False
        self._handed_out = 0
        self._stopping = threading.Event()
        self._failures = 0
        self._failure: type[Exception] | None = None
        """Of the last failed receive: each kind is logged once until the layer is back."""

    def next(self) -> Delivery | None:
        """The next message to run; blocks until there is one. ``None``: the worker stops."""
        with self._lock:
            delivery = self._pop()
        while delivery is None:
            if self._turned_away:
                self._put_back_turned_away()
            if self._fetching:
                self._sender.flush()
            with self._lock:
                stepped_in = self._fetching and self._stand_by()
                delivery = self._pop()
                if delivery is None:
                    if self._stopping.is_set():
                        return None
                    self._fetching, self._called_in = True, False
            if delivery is None:
                delivery = self._fetch()
            elif stepped_in:
                self._sender.flush()
        if self._turned_away:
            self._put_back_turned_away()
        return delivery

    def stop(self) -> None:
        """Fetch no more; may be called again until all threads have ended.

        Messages that were fetched are still handed out.
        """
        with self._lock:
            self._stopping.set()
            self._sleepers.notify_all()
            self._watcher.notify_all()
        self._slots.wake()
        self._layer.interrupt()

    def let_in(self) -> None:
        """Have channels fetched again that were left out, if there are places for coroutines again."""
        if self._leaves_out and self._slots.free:
            self._layer.interrupt()

    def put_back_stuck(self) -> None:
        """Give messages back that nobody has begun. To be called when all threads are busy.

        What surely did not reach the layer stays here.
        """
        with self._lock:
            stuck = [*self._turned_away, *self._ready]
            self._turned_away.clear()
            self._ready.clear()
        self.put_back_all(stuck)

    def _put_back_turned_away(self) -> None:
        with self._lock:
            turned_away, self._turned_away = self._turned_away, []
        self.put_back_all(turned_away)

    def put_back_all(self, deliveries: list[Delivery]) -> None:
        """Give messages back that nobody has begun, in their order. What surely did not reach the layer stays here."""
        for channel, together in groupby(deliveries, key=lambda delivery: delivery.channel):
            self._put_back(channel, list(together))

    def _put_back(self, channel: str, deliveries: list[Delivery]) -> None:
        try:
            self._layer.put_back(channel, deliveries)
        except LayerUnavailable as error:
            if error.uncertain:
                logger.error("%d messages of %s may be lost: %s", len(deliveries), channel, error)
                return
            with self._lock:
                self._ready.extend(deliveries)
        except Exception:
            logger.exception("%d messages of %s could not be put back and are lost", len(deliveries), channel)

    def waiting(self) -> tuple[int, int]:
        """How many messages wait here, and a number that changes whenever one is handed out."""
        return len(self._ready) + len(self._turned_away), self._handed_out

    def _pop(self) -> Delivery | None:
        """Take one of the messages that are here, under the lock."""
        while self._ready:
            delivery = self._ready.popleft()
            if self._slots.admits(delivery.channel):
                self._handed_out += 1
                return delivery
            self._turned_away.append(delivery)
        return None

    def _fetch(self) -> Delivery | None:
        """Receive messages and return the first of them."""
        try:
            deliveries = self._receive()
        except BaseException:
            self._hand_over([], call=True)
            raise
        return self._hand_over(deliveries, call=bool(deliveries) and self.pace.is_slow)

    def _hand_over(self, deliveries: list[Delivery], call: bool) -> Delivery | None:
        """End the fetching: keep one message for this thread, and call another in or see that one watches."""
        with self._lock:
            self._fetching = False
            self._ready.extend(deliveries)
            self._called_in = call
            if call or (deliveries and self._watcher_asleep):
                self._watcher.notify()
            return self._pop()

    def _receive(self) -> list[Delivery]:
        channels, limit, timeout = self._channels, self.pace.limit, FETCH_SECONDS
        if self._slots.channels:
            limit = min(limit, max(1, self._slots.free))
            if not self._slots.free:
                channels = [name for name in channels if name not in self._slots.channels]
                timeout = LEFT_OUT_SECONDS
                if not channels:
                    self._sender.flush()
                    self._slots.wait(timeout)
                    return []
        self._leaves_out = channels is not self._channels
        try:
            deliveries: list[Delivery] = self._sender.receive(self._layer, channels, limit, timeout)
        except Exception as error:
            self._back_off(error)
            return []
        finally:
            self._leaves_out = False
        if self._failures:
            logger.warning("channel layer %s is back", self._layer.describe())
            self._failures, self._failure = 0, None
        return deliveries

    def _back_off(self, error: Exception) -> None:
        if type(error) is not self._failure:
            self._failure = type(error)
            # What a layer does not raise on purpose is a fault in it, and wants a traceback.
            unexpected = None if isinstance(error, (LayerUnavailable, LayerConfigurationError)) else error
            level = logging.ERROR if isinstance(error, LayerConfigurationError) else logging.WARNING
            logger.log(level, "%s; trying again until it is back", clause(error), exc_info=unexpected)
        self._failures += 1
        pause = min(LONGEST_BACKOFF, 0.05 * 2 ** min(self._failures, 10))
        self._stopping.wait(pause * random.uniform(0.5, 1.0))

    def _stand_by(self) -> bool:
        """Wait, under the lock, until this thread must step in for a slow one; False at the stop."""
        while not self._stopping.is_set():
            if self._watching:
                self._sleepers.wait()
            elif self._keep_watch():
                return True
        return False

    def _keep_watch(self) -> bool:
        """Watch, under the lock, the thread that has the messages; True once this thread is needed."""
        self._watching = True
        try:
            self._await_need()
        finally:
            self._watching = self._watcher_asleep = False
            self._sleepers.notify()
        return not self._stopping.is_set()

    def _await_need(self) -> None:
        """Wait until this thread is called in, or the one that has the messages is stuck in a consumer."""
        quiet = 0
        while not (self._stopping.is_set() or (self._called_in and not self._fetching)):
            before = self._handed_out
            self._watcher_asleep = asleep = quiet >= WATCH_ROUNDS
            self._watcher.wait(None if asleep else WATCH_SECONDS)
            self._watcher_asleep = False
            if asleep or self._handed_out != before:
                quiet = 0
            elif self._fetching:
                quiet += 1
            else:
                return
