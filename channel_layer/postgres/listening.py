"""Waking those who wait: what a connection hears that takes messages, and the thread that keeps this going.

The connection listens to the names of the channels that are waited for, and who waits for messages watches its socket:
an event loop that of its own connection, and one of the threads that of the connection which they all receive with. So
a notification wakes the one who then takes the message, and nobody else.
"""

from __future__ import annotations

import hashlib
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from typing import TypeAlias

import psycopg

from ..delivery import Delivery
from ..exceptions import ChannelLayerError, clause
from .connections import Connection, Plan, Statement

LINGER = 1.0
"""Seconds for which names are listened to when nobody waits any more."""

DEAF_SECONDS = 60.0
"""Seconds after which a connection is cut that listens for an event loop which does not run: the server would keep all
notifications for it."""

MOST_BELLS = 1000
"""Names that a connection listens to before it forgets those that nobody waits for."""

MOST_DRAINED = 4096
"""Channels of which it is remembered that nothing lies on them."""

Mark: TypeAlias = tuple[int, int] | None
"""Changes when something may have come to a channel; ``None`` if nobody listens."""

_log = logging.getLogger("channel_layer.postgres")


def bell(schema: str, reader: str) -> str:
    """The name that a channel's notifications have; `schema.sql` has the same function."""
    return _bell(schema, reader.partition("?")[0])


@lru_cache(maxsize=4096)
def _bell(schema: str, family: str) -> str:
    return f"{schema}_{hashlib.md5(family.encode(), usedforsecurity=False).hexdigest()[:20]}"


class Ear:
    """Memory of what one connection has heard, and of who waits for it. Thread-safe.

    Args:
        schema: name of the layer's schema.
    """

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._lock = threading.Lock()
        self._waiters: dict[object, tuple[frozenset[str], Callable[[], None]]] = {}
        self._heard: frozenset[str] = frozenset()
        self._rung: dict[str, int] = {}
        self._looks = 0
        self._drained: dict[str, Mark] = {}
        self.unused_since = time.monotonic()

    @contextmanager
    def waiting(self, channels: Sequence[str], wake: Callable[[], None]) -> Iterator[None]:
        """Have ``wake`` called, from any thread and perhaps for nothing, while the block runs."""
        key = object()
        with self._lock:
            self._waiters[key] = (frozenset(channels), wake)
        try:
            yield
        finally:
            with self._lock:
                del self._waiters[key]
                self.unused_since = time.monotonic()

    @property
    def is_waited_at(self) -> bool:
        """True if somebody waits."""
        return bool(self._waiters)

    @property
    def is_listening(self) -> bool:
        """True if the connection is to be told of messages."""
        return bool(self._heard)

    def is_listening_to(self, channels: Iterable[str]) -> bool:
        """True if the connection hears of messages on all of the channels."""
        return self._heard.issuperset([bell(self._schema, name) for name in channels])

    def listen(self, channels: Sequence[str]) -> Plan[None]:
        """Have the connection hear of messages on the channels; to be run on that connection."""
        bells = {bell(self._schema, name): None for name in channels}
        heard, begin = self._heard, ""
        if len(heard) > MOST_BELLS:
            begin, heard = "UNLISTEN *; ", frozenset()
            with self._lock:
                waited_for = [name for names, _ in self._waiters.values() for name in names]
            bells |= {bell(self._schema, name): None for name in waited_for}
        new = [name for name in bells if name not in heard]
        if new:
            yield Statement(begin + "; ".join(f'LISTEN "{name}"' for name in new))
            self._heard = heard.union(new)

    def stop_listening(self) -> Plan[None]:
        """Have the connection hear of nothing; to be run on that connection."""
        self._heard = frozenset()
        yield Statement(f"UNLISTEN * -- {self._schema}")  # by the name it is known whose connection this is

    def lose(self) -> None:
        """The connection has ended, or another has taken its place: nothing is heard any more, and everybody looks."""
        self._heard = frozenset()
        self.look()

    def fresh(self, channels: Iterable[str]) -> dict[str, Mark]:
        """Those of the channels on which something may lie, each with a mark for `note`."""
        found: dict[str, Mark] = {}
        with self._lock:
            for name in channels:
                mark = self._looks, self._rung.get(name, 0)
                if bell(self._schema, name) not in self._heard:
                    found[name] = None
                elif self._drained.get(name) != mark:
                    found[name] = mark
        return found

    def note(self, channel: str, mark: Mark) -> None:
        """A channel has been found empty: until something comes, it is not fresh any more.

        Args:
            channel: its name.
            mark: what `fresh` had said before.
        """
        if mark is not None:
            if len(self._drained) >= MOST_DRAINED:
                self._drained = {}
            self._drained[channel] = mark

    def ring(self, channel: str) -> None:
        """The connection was told of a message: wake those who wait for the channel."""
        with self._lock:
            self._rung[channel] = self._rung.get(channel, 0) + 1
            waiters = [wake for names, wake in self._waiters.values() if channel in names]
        for wake in waiters:
            wake()

    def look(self) -> None:
        """Have everybody look, as a notification may have been lost."""
        with self._lock:
            self._rung = {}
            self._looks += 1
        self.wake_all()

    def wake_all(self) -> None:
        """Wake everybody, for nothing."""
        with self._lock:
            waiters = list(self._waiters.values())
        for _, wake in waiters:
            wake()


class Watch:
    """Waiting in threads, one of which watches the socket of the connection that they share and wakes the others.

    Args:
        ear: of that connection.
        connection: returns it, if there is one.
        hear: takes in what it was told.
    """

    def __init__(self, ear: Ear, connection: Callable[[], Connection | None], hear: Callable[[], None]) -> None:
        self._ear = ear
        self._connection = connection
        self._hear = hear
        self._lock = threading.Lock()
        self._watcher: threading.Event | None = None
        self._watching: int | None = None
        self._others: list[threading.Event] = []
        self._nudge_out, self._nudge_in = os.pipe()
        os.set_blocking(self._nudge_in, False)
        os.set_blocking(self._nudge_out, False)

    def __del__(self) -> None:
        os.close(self._nudge_in)
        os.close(self._nudge_out)

    def receive(
        self, channels: Sequence[str], look: Callable[[], list[Delivery]], timeout: float, is_over: Callable[[], bool]
    ) -> list[Delivery]:
        """Look for messages until there are some, for up to ``timeout`` seconds; blocks.

        Args:
            channels: those that ``look`` looks at.
            look: takes messages without waiting, and has the connection listen.
            is_over: ends the waiting early, once everybody is woken.
        """
        deadline = time.monotonic() + timeout
        arrived = threading.Event()
        with self._ear.waiting(channels, partial(self._wake, arrived)):
            try:
                while True:
                    deliveries = look()
                    if deliveries or time.monotonic() >= deadline or is_over():
                        return deliveries
                    self._rest(arrived, deadline)
                    arrived.clear()
            finally:
                self._leave(arrived)

    def _wake(self, arrived: threading.Event) -> None:
        arrived.set()
        if self._watcher is arrived and self._watching != threading.get_ident():
            with suppress(BlockingIOError):
                os.write(self._nudge_in, b"x")

    def _rest(self, arrived: threading.Event, deadline: float) -> None:
        with self._lock:
            if self._watcher is None:
                self._watcher = arrived
            is_watcher = self._watcher is arrived
            if is_watcher:
                self._watching = threading.get_ident()
            elif arrived not in self._others:
                self._others.append(arrived)
        if is_watcher:
            self._watch(arrived, deadline)
        else:
            arrived.wait(deadline - time.monotonic())

    def _watch(self, arrived: threading.Event, deadline: float) -> None:
        while not arrived.is_set():
            remaining = deadline - time.monotonic()
            connection = self._connection()
            if remaining <= 0 or connection is None or connection.closed:
                return  # who looks makes another, or learns why there is none
            poll = select.poll()
            poll.register(self._nudge_out, select.POLLIN)
            poll.register(connection.pgconn.socket, select.POLLIN)
            for found, _ in poll.poll(remaining * 1000):
                if found == self._nudge_out:
                    with suppress(BlockingIOError):
                        os.read(self._nudge_out, 4096)
                else:
                    self._hear()

    def _leave(self, arrived: threading.Event) -> None:
        """Wait no more; another thread watches from now on."""
        with self._lock:
            if arrived in self._others:
                self._others.remove(arrived)
            if self._watcher is not arrived:
                return
            self._watcher = self._others.pop(0) if self._others else None
            self._watching = None
            if self._watcher is not None:
                self._watcher.set()


class Keeper:
    """Thread that sees to what has to happen while everybody waits. It lives while somebody does.

    Args:
        every_look: called at least that often; returns whether it has found the database there.
        end_unused: called then, too, and returns whether something is still listened to that nobody waits for.
        ears: returns those of all connections.
        seconds: longest time between two looks at a channel, should a notification get lost.
    """

    def __init__(
        self,
        every_look: Callable[[], bool],
        end_unused: Callable[[], bool],
        ears: Callable[[], list[Ear]],
        seconds: float,
    ) -> None:
        self.seconds = seconds
        self._every_look = every_look
        self._end_unused = end_unused
        self._ears = ears
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def start(self) -> None:
        """See to it that the thread runs, as somebody waits."""
        with self._lock:
            if self._thread is None or self._closing.is_set():
                self._closing = threading.Event()
                self._thread = threading.Thread(target=self._run, name="channel-layer-listen", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread, if nobody waits."""
        thread = self._thread
        if thread is not None and not any(ear.is_waited_at for ear in self._ears()):
            self._closing.set()
            thread.join(LINGER)

    def _run(self) -> None:
        closing = self._closing
        failing = False
        try:
            while not closing.wait(self.seconds):
                try:
                    if self._every_look():
                        failing = False
                    is_used = self._end_unused()
                except (ChannelLayerError, psycopg.Error) as error:
                    if not failing:
                        _log.warning("%s. Trying again.", clause(error))
                    failing = is_used = True
                ears = self._ears()
                for ear in ears:
                    ear.look()
                with self._lock:
                    if not is_used and not any(ear.is_waited_at or ear.is_listening for ear in ears):
                        self._thread = None
                        return
        finally:
            with self._lock:
                # After an error that nobody foresaw, the next who waits starts another thread.
                if self._thread is threading.current_thread():
                    self._thread = None
