"""Getting messages to the threads of a worker, each at the right moment.

One thread at a time fetches; the others stand by. A fetch may bring several messages when consumers
are fast (`Pace` decides), and the thread that fetched runs them one after the other: handing fast
messages from thread to thread would cost more than running them. But nothing may wait behind a slow
consumer, so one of those standing by keeps watch: if a consumer has not come back within
`WATCH_SECONDS`, it takes over the next message, or the fetching. When all threads are busy, messages
that nobody has begun go back to the front of their channel, for other workers.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import groupby
from typing import Any

from channel_layer.delivery import Delivery
from channel_layer.exceptions import LayerUnavailable

logger = logging.getLogger(__name__)

FETCH_SECONDS = 5.0
"""How long one fetch waits for a message."""

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


class Intake:
    """Hands out messages to the threads that call `next`.

    Args:
        layer: where messages come from.
        channels: what to listen on.
        before_fetch: called by a thread before it waits for new messages, and by the watch when it
            steps in: the moment to send what finished consumers have left to send.
    """

    def __init__(self, layer: Any, channels: list[str], before_fetch: Callable[[], None]) -> None:
        self.pace = Pace()
        self._layer = layer
        self._channels = channels
        self._before_fetch = before_fetch
        lock = threading.Lock()
        self._sleepers = threading.Condition(lock)
        self._watcher = threading.Condition(lock)
        self._lock = lock
        self._ready: deque[Delivery] = deque()
        self._fetching = False
        self._watching = False
        self._watcher_asleep = False
        self._handed_out = 0
        self._stopping = threading.Event()
        self._failures = 0

    def next(self) -> Delivery | None:
        """The next message to run; blocks until there is one. ``None``: the worker stops."""
        while True:
            delivery = None
            with self._lock:
                others_fetch = self._fetching and not self._ready
                stepped_in = others_fetch and self._stand_by()
                if self._ready:
                    self._handed_out += 1
                    delivery = self._ready.popleft()
                elif self._stopping.is_set():
                    return None
                else:
                    self._fetching = True
            if delivery is None or stepped_in:
                self._before_fetch()
            if delivery is not None:
                return delivery
            self._fetch()

    def stop(self) -> None:
        """Fetch no more; may be called again until all threads have ended.

        Messages that were fetched are still handed out.
        """
        with self._lock:
            self._stopping.set()
            self._sleepers.notify_all()
            self._watcher.notify_all()
        self._layer.interrupt()

    def put_back_stuck(self) -> None:
        """Give messages back that nobody has begun. To be called when all threads are busy."""
        with self._lock:
            stuck = list(self._ready)
            self._ready.clear()
        for channel, group in groupby(stuck, key=lambda delivery: delivery.channel):
            self._layer.put_back(channel, list(group))

    def waiting(self) -> tuple[int, int]:
        """How many messages wait here, and a number that changes whenever one is handed out."""
        return len(self._ready), self._handed_out

    def _fetch(self) -> None:
        deliveries: list[Delivery] = []
        pause = 0.0
        try:
            deliveries = self._layer.receive_many(self._channels, limit=self.pace.limit, timeout=FETCH_SECONDS)
            if self._failures:
                logger.warning("channel layer %s is back", self._layer.describe())
            self._failures = 0
        except LayerUnavailable as error:
            if not self._failures:
                logger.warning("%s; trying again until it is back", error)
            self._failures += 1
            pause = min(LONGEST_BACKOFF, 0.05 * 2**self._failures) * random.uniform(0.5, 1.0)
        if pause:
            self._stopping.wait(pause)
        with self._lock:
            self._ready.extend(deliveries)
            self._fetching = False
            if deliveries and self._watcher_asleep:
                self._watcher_asleep = False
                self._watcher.notify()

    def _stand_by(self) -> bool:
        """Wait, under the lock, until this thread must step in for a slow one; False at the stop."""
        while not self._stopping.is_set():
            if self._watching:
                self._sleepers.wait()
            elif self._keep_watch():
                return True
        return False

    def _keep_watch(self) -> bool:
        """Watch, under the lock, the thread that has the messages; True once it is stuck in a consumer."""
        self._watching = True
        quiet = 0
        while not self._stopping.is_set():
            before = self._handed_out
            if quiet < WATCH_ROUNDS:
                self._watcher.wait(WATCH_SECONDS)
            else:
                self._watcher_asleep = True
                self._watcher.wait()
                self._watcher_asleep = False
                quiet = 0
            if self._handed_out != before:
                quiet = 0
            elif self._fetching:
                quiet += 1
            else:
                break
        self._watching = False
        self._sleepers.notify()
        return not self._stopping.is_set()
