"""Choosing the next message for each thread of a worker.

One thread at a time fetches; the others stand by. When consumers are fast, a fetch may bring several
messages (`Pace` decides), and the thread that fetched runs them one after the other: handing fast
messages from thread to thread would cost more than running them. When consumers are slow, the
thread that fetched calls the next one in before it runs its message. And since a fast consumer may
be slow for once, one of those standing by keeps watch: if a consumer has not come back within
`WATCH_SECONDS`, it takes over the next message, or the fetching. When all threads are busy, messages
that nobody has begun go back to the front of their channel, for other workers.

Coroutines run elsewhere, as many at a time as the `AsyncLimit` allows. While all places are taken, their channels
are left out of the fetching, and what was fetched from them goes back.

A thread sends what finished consumers left to send before it waits for anything. The one that fetches
sends and fetches in one round trip, if the layer can.
"""

from __future__ import annotations

import enum
import logging
import resource
import threading
import time
from collections import deque
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from channel_layer.backoff import Backoff
from channel_layer.delivery import Delivery
from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable, clause
from channel_layer.layer import ChannelLayer
from channel_layer.messages import RESUME

from .async_limit import REFUSED, Admission, AsyncLimit
from .facts import Facts
from .sender import Sender

logger = logging.getLogger(__name__)

COUNTS_FOR_THREADS = hasattr(resource, "RUSAGE_THREAD")
"""True where the system says what a single thread has used."""

FETCH_SECONDS = 5.0
"""The longest wait of one fetch for a message."""

LEFT_OUT_SECONDS = 1.0
"""The same while some channels are left out, for layers whose waiting cannot be interrupted."""

WATCH_SECONDS = 0.002
"""The time a consumer may take before another thread steps in."""

WATCH_ROUNDS = 25
"""Rounds without a message after which the watch sleeps until it is notified."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds before an attempt to reach the layer again."""

Taken = tuple[Delivery, Admission]
"""A message to run, and what `AsyncLimit` is to be told afterwards."""


class Pace:
    """The number of messages to fetch at once, from the time that consumers took of late.

    A slow consumer counts at once and is forgotten gradually, so that a mixture of fast and slow
    ones is treated as slow. The time for which the system runs others on the processor does not count:
    on a busy machine nearly all that is long is that, and small batches would make it busier.
    """

    TARGET_SECONDS = 0.004
    MOST = 64
    SLOW_SECONDS = 0.0005
    """From this duration on, waking another thread is cheap compared with what it can do meanwhile."""

    LONG_SECONDS = 0.0003
    """From this duration on, to find out what it was spent on takes little beside it: 2 µs."""

    def __init__(self) -> None:
        self._seconds = self.TARGET_SECONDS
        self._mine = threading.local()

    def begin(self) -> None:
        """The calling thread is about to run consumers, after it has waited for messages."""
        self._mine.usage = _usage()

    def record(self, seconds: float) -> None:
        """Take the duration of one more consumer, which the calling thread has run, into account."""
        if seconds > self._seconds:
            own = seconds if seconds < self.LONG_SECONDS else self._own(seconds)
            self._seconds = max(self._seconds, own)
        else:
            self._seconds += (seconds - self._seconds) * 0.1

    def _own(self, seconds: float) -> float:
        """The part of a long time that was not spent on others: all of it, if the thread has waited for anything."""
        before: _Usage | None = getattr(self._mine, "usage", None)
        now = self._mine.usage = _usage()
        if before is None or now is None or before.waits != now.waits:
            return seconds
        # What it ran before this consumer, it ran without a break: a long one would have been looked at, too.
        earlier = now.at - before.at - seconds
        return now.ran - before.ran - earlier

    @property
    def limit(self) -> int:
        """Messages to fetch at once."""
        return max(1, min(self.MOST, int(self.TARGET_SECONDS / (self._seconds + 1e-9))))

    @property
    def is_slow(self) -> bool:
        """True if several threads get more done than one."""
        return self._seconds >= self.SLOW_SECONDS


class _Usage(NamedTuple):
    """The use that a thread has made of the machine so far.

    Attributes:
        waits: how often it has waited for something, be it a lock.
        ran: seconds on a processor.
        at: when this was, by `time.perf_counter`.
    """

    waits: int
    ran: float
    at: float


def _usage() -> _Usage | None:
    """Of the calling thread; ``None`` where the system does not count for threads."""
    if not COUNTS_FOR_THREADS:
        return None
    used = resource.getrusage(resource.RUSAGE_THREAD)
    return _Usage(used.ru_nvcsw, time.thread_time(), time.perf_counter())


class Fetching(enum.Enum):
    """The state of the fetching. Changed under the lock of the `Fetcher`."""

    UNDER_WAY = enum.auto()
    """One thread waits at the layer, or has just been told to."""

    PAUSED = enum.auto()
    """The thread that fetched last runs what it got, and is expected back soon."""

    OPEN = enum.auto()
    """The thread that fetched last is not expected back soon: the next one that is free fetches."""


class Watch(enum.Enum):
    """The state of the watch over the thread that has the messages. Changed under the lock of the `Fetcher`."""

    NOBODY = enum.auto()
    AWAKE = enum.auto()
    """One thread looks every `WATCH_SECONDS`."""

    ASLEEP = enum.auto()
    """The same thread has seen nothing happen for long, and waits to be notified."""


class Fetcher:
    """Give the threads that call `next` their messages.

    Args:
        layer: where messages come from.
        channels: names of the channels to listen on.
        sender: of the same layer; flushed before a thread waits for anything, and by one that steps in for a slow one.
        async_limit: places for coroutines.
        facts: counts what is received.

    Attributes:
        handed_out: the number of messages that threads have got so far.
    """

    def __init__(
        self,
        layer: ChannelLayer,
        channels: Sequence[str],
        sender: Sender,
        async_limit: AsyncLimit | None = None,
        facts: Facts | None = None,
    ) -> None:
        self.pace = Pace()
        self._layer = layer
        self._channels = channels
        self._sender = sender
        self._async_limit = async_limit if async_limit is not None else AsyncLimit(1)
        self._facts = facts if facts is not None else Facts()
        self._lock = threading.Lock()
        self._sleepers = threading.Condition(self._lock)
        self._watcher = threading.Condition(self._lock)
        self._fetching = Fetching.OPEN
        self._watch = Watch.NOBODY
        self._ready: deque[Delivery] = deque()
        self._refused: list[Delivery] = []
        """Fetched, but there was no place for the coroutine; to be put back."""
        self.handed_out = 0
        self._stuck_at = -1
        self._left_out: frozenset[str] = frozenset()
        self._leaves_out = False
        """Some channels are left out of the fetch that is under way because there are no places."""
        self._stopping = threading.Event()
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._failure: type[Exception] | None = None
        """Of the last failed receive: each kind is logged once until the layer is back."""

    def next(self) -> Taken | None:
        """The next message to run; blocks until there is one. ``None``: the worker stops."""
        with self._lock:
            taken = self._take()
        while taken is None:
            if self._refused:
                self._put_back_refused()
            if self._fetching is Fetching.UNDER_WAY:
                # This thread is about to wait for one that waits for a message, which may not come for long.
                self._sender.flush()
            with self._lock:
                stood_by = self._fetching is Fetching.UNDER_WAY
                if stood_by:
                    self._stand_by()
                # Also after the stop, what was fetched is still run.
                taken = self._take()
                if taken is None:
                    if self._stopping.is_set():
                        return None
                    # In the same breath as the look, so that no other thread can get here too.
                    self._fetching = Fetching.UNDER_WAY
            if taken is None:
                taken = self._fetch()
            elif stood_by:
                # What the slow thread finished before its slow consumer must not wait for that one.
                self._sender.flush()
            self.pace.begin()
        if self._refused:
            self._put_back_refused()
        return taken

    def _take(self) -> Taken | None:
        """Take the first message here that may be run, under the lock; those before it are refused."""
        while self._ready:
            delivery = self._ready.popleft()
            admission = self._async_limit.admit(delivery.channel)
            if admission is not REFUSED:
                self.handed_out += 1
                return delivery, admission
            self._refused.append(delivery)
        return None

    def _stand_by(self) -> None:
        """Wait, under the lock, until this thread is needed or the worker stops."""
        # One thread is enough to watch. When it is needed it wakes the next one, to watch in its place.
        while self._watch is not Watch.NOBODY and not self._stopping.is_set():
            self._sleepers.wait()
        if self._stopping.is_set():
            return
        quiet_rounds = 0
        try:
            while not self._stopping.is_set() and self._fetching is not Fetching.OPEN:
                before = self.handed_out
                asleep = quiet_rounds >= WATCH_ROUNDS
                self._watch = Watch.ASLEEP if asleep else Watch.AWAKE
                self._watcher.wait(None if asleep else WATCH_SECONDS)
                if asleep or self.handed_out != before:
                    # Messages come, and the thread that has them gets on. Just woken up, one cannot tell yet.
                    quiet_rounds = 0
                elif self._fetching is Fetching.UNDER_WAY:
                    # Nothing to do for anybody. Looking costs, so in the long run the end of the fetch must wake this.
                    quiet_rounds += 1
                else:
                    # A consumer has not come back for a whole round.
                    break
        finally:
            self._watch = Watch.NOBODY
            self._sleepers.notify()

    def _fetch(self) -> Taken | None:
        """Receive messages, keep the first of them for this thread, and see that the others are looked after."""
        deliveries: list[Delivery] = []
        # Until this thread comes back: if it ends here, whatever the error, another has to go on.
        after = Fetching.OPEN
        try:
            deliveries = self._receive()
            if not (deliveries and self.pace.is_slow):
                after = Fetching.PAUSED
        finally:
            with self._lock:
                self._ready.extend(deliveries)
                self._fetching = after
                # An open fetching is for the watch to take over. Otherwise it has to see that the messages get on.
                if after is Fetching.OPEN or (deliveries and self._watch is Watch.ASLEEP):
                    self._watcher.notify()
                taken = self._take() if deliveries else None
        return taken

    def _receive(self) -> list[Delivery]:
        """Receive from the channels for which there are places. An error becomes a pause, and no messages."""
        channels, limit, timeout = self._channels, self.pace.limit, FETCH_SECONDS
        left_out, no_places = self._left_out, False
        if self._async_limit.channels:
            limit = min(limit, max(1, self._async_limit.free))
            if not self._async_limit.free:
                left_out, no_places = left_out | self._async_limit.channels, True
        if left_out:
            channels = [name for name in channels if name not in left_out]
            timeout = LEFT_OUT_SECONDS
            if not channels:
                self._sender.flush()
                if no_places:
                    self._async_limit.wait(timeout)
                else:
                    self._stopping.wait(timeout)
                return []
        self._leaves_out = no_places
        try:
            deliveries = self._sender.receive(channels, limit, timeout)
        except Exception as error:
            self._back_off(error)
            return []
        finally:
            self._leaves_out = False
        self._facts.receives += 1
        if deliveries:
            self._facts.received(deliveries[0].channel, self._layer.waited(deliveries))
            if deliveries[0].channel == RESUME:
                now = time.monotonic()
                for delivery in deliveries:
                    delivery.taken_at = now
        if self._failure is not None:
            self._facts.up = True
            logger.warning("channel layer %s is back", self._layer.describe())
            self._failure = None
            self._backoff.reset()
        return deliveries

    def _back_off(self, error: Exception) -> None:
        """Log an error of the layer and pause, longer each time. The stop ends the pause."""
        self._facts.up = False
        self._facts.failures += 1
        if type(error) is not self._failure:
            self._failure = type(error)
            # What a layer does not raise on purpose is a fault in it, and wants a traceback.
            unexpected = None if isinstance(error, (LayerUnavailable, LayerConfigurationError)) else error
            level = logging.ERROR if isinstance(error, LayerConfigurationError) else logging.WARNING
            logger.log(level, "%s; trying again until it is back", clause(error), exc_info=unexpected)
        self._stopping.wait(self._backoff.next())

    # -- called by the thread that looks after the worker ----------------------------------------

    def stop(self) -> None:
        """Fetch no more; may be called again until all threads have ended.

        Messages that were fetched are still handed out.
        """
        with self._lock:
            self._stopping.set()
            self._sleepers.notify_all()
            self._watcher.notify_all()
        self._async_limit.wake()
        self._layer.interrupt()

    def let_in(self) -> None:
        """Have channels fetched again that were left out, if there are places for coroutines again."""
        if self._leaves_out and self._async_limit.free:
            self._layer.interrupt()

    def leave_out(self, channels: frozenset[str]) -> None:
        """Fetch nothing from these channels until they are not among those of a later call."""
        if channels != self._left_out:
            self._left_out = channels
            self._layer.interrupt()

    @property
    def waiting(self) -> int:
        """Messages here that nobody has begun."""
        return len(self._ready) + len(self._refused)

    def put_back_stuck(self) -> None:
        """Put messages back if none has been handed out since the last call: then all threads are busy."""
        handed_out = self.handed_out
        if self.waiting and handed_out == self._stuck_at:
            self.put_back_unbegun()
        self._stuck_at = handed_out

    def put_back_unbegun(self) -> None:
        """Put all messages back that nobody has begun; see `put_back`."""
        with self._lock:
            unbegun = [*self._refused, *self._ready]
            self._refused.clear()
            self._ready.clear()
        self.put_back(unbegun)

    def _put_back_refused(self) -> None:
        with self._lock:
            refused, self._refused = self._refused, []
        self.put_back(refused)

    def put_back(self, deliveries: Sequence[Delivery]) -> None:
        """Put messages back to the front of their channels, in order. Those that surely did not get there stay here."""
        for channel, together in groupby(deliveries, key=lambda delivery: delivery.channel):
            batch = list(together)
            if not put_back(self._layer, channel, batch, self._facts):
                with self._lock:
                    self._ready.extend(batch)


def put_back(layer: ChannelLayer, channel: str, batch: Sequence[Delivery], facts: Facts) -> bool:
    """Put messages back to the front of their channel, in order.

    Returns:
        False if they surely did not get there, and are still the caller's. If they may be lost, that is counted.
    """
    try:
        layer.put_back(channel, batch)
    except LayerUnavailable as error:
        if not error.uncertain:
            return False
        facts.lost.add("not given back", len(batch))
        logger.error("%d messages of %s may be lost: %s", len(batch), channel, error)
    except Exception:
        facts.lost.add("not given back", len(batch))
        logger.exception("%d messages of %s could not be put back and are lost", len(batch), channel)
    else:
        facts.given_back += len(batch)
    return True
