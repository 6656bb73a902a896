"""Waking those who wait: one thread per process notices that other processes have written."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager

from ..exceptions import ChannelLayerError, clause
from . import queues
from .database import Database

SHORTEST_PAUSE = 0.000_5
LONGEST_PAUSE = 0.004
IDLE_PAUSE = 0.045
IDLE_AFTER = 5.0
"""Seconds between two looks: the pause grows while nothing comes, and once more when nothing has come
for `IDLE_AFTER` seconds. Waking up and looking takes 100 to 200 µs of processor time on a busy machine, so that an idle
process uses less than one percent of a core."""

LINGER = 1.0
"""Seconds for which the thread stays when nobody waits any more."""

_log = logging.getLogger("channel_layer.sqlite")


class FileWatch:
    """Calls back who waits for channels when something lies on one of them.

    The thread lives while somebody waits. It asks SQLite's ``data_version``, which changes with
    every commit of another connection, and looks at the channels only when it has changed.

    Args:
        database: for this thread alone.
        every_look: called now and then, for what has to happen while everybody waits.
    """

    def __init__(self, database: Database, every_look: Callable[[], None]) -> None:
        self._database = database
        self._every_look = every_look
        self._lock = threading.Lock()
        self._waiters: dict[object, tuple[tuple[str, ...], Callable[[], None]]] = {}
        self._thread: threading.Thread | None = None
        self._nudged = threading.Event()
        self._written = False
        self._pause = SHORTEST_PAUSE

    @contextmanager
    def waiting(self, channels: Sequence[str], wake: Callable[[], None]) -> Iterator[None]:
        """Have ``wake`` called, from another thread and perhaps for nothing, while the block runs.

        Look at the channels after entering: what came before is not reported.
        """
        key = object()
        with self._lock:
            self._waiters[key] = (tuple(channels), wake)
            self._nudged.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="channel-layer-watch", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._waiters[key]

    def nudge(self, channels: AbstractSet[str]) -> None:
        """This process has written something itself, to these channels: an answer may come soon.

        Waking the thread costs more than writing, so that is done only if it would not look soon, or if
        somebody here waits for what was written.
        """
        waiters = list(self._waiters.values())
        if waiters:
            self._written = True
            if self._pause > 2 * SHORTEST_PAUSE or any(not channels.isdisjoint(each) for each, _ in waiters):
                self._nudged.set()

    def wake_all(self) -> None:
        """Wake everybody, for nothing."""
        with self._lock:
            waiters = list(self._waiters.values())
        for _, wake in waiters:
            wake()

    def reopen(self) -> None:
        """Look at the file that is at the path now."""
        self._database.close()

    def _run(self) -> None:
        try:
            self._look_again_and_again()
        finally:
            with self._lock:
                # After an error that nobody foresaw, the next who waits starts another thread.
                if self._thread is threading.current_thread():
                    self._thread = None

    def _look_again_and_again(self) -> None:
        seen: object = None
        self._pause, found = SHORTEST_PAUSE, time.monotonic()
        failing = False
        while self._go_on():
            try:
                self._every_look()
                version = self._database.read(lambda database: database.execute("PRAGMA data_version").fetchone())
                if version != seen:
                    seen = version
                    if self._wake_ready():
                        self._pause, found = SHORTEST_PAUSE, time.monotonic()
                failing = False
            except ChannelLayerError as error:
                if not failing:
                    _log.warning("%s. Trying again.", clause(error))
                # Those who wait learn of it when they look for themselves.
                failing, seen, self._pause = True, None, 0.5
                self.wake_all()
            if self._nudged.wait(self._pause):
                self._nudged.clear()
            if self._written:
                # An answer may come soon.
                self._written = False
                self._pause, found = SHORTEST_PAUSE, time.monotonic()
            else:
                longest = LONGEST_PAUSE if time.monotonic() - found < IDLE_AFTER else IDLE_PAUSE
                self._pause = min(self._pause * 1.2, longest)

    def _go_on(self) -> bool:
        """True while somebody waits, or comes to wait soon; if not, the thread has ended."""
        if not self._waiters:
            self._nudged.clear()
            if not self._waiters:
                self._nudged.wait(LINGER)
        with self._lock:
            if self._waiters:
                return True
            self._thread = None
            self._database.close()
            return False

    def _wake_ready(self) -> bool:
        with self._lock:
            waiters = list(self._waiters.values())
        every = {name for channels, _ in waiters for name in channels}
        ready = set(self._database.read(lambda connection: queues.waiting(connection, tuple(every))))
        woken = [wake for channels, wake in waiters if not ready.isdisjoint(channels)]
        for wake in woken:
            wake()
        return bool(woken)
