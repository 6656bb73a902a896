"""Waiting for locks of other processes, for not too long altogether."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from ..backoff import Backoff
from .errors import is_busy

LOCK_SECONDS = 0.7
"""Longest wait while others keep the lock and no process makes progress, before the layer counts as unavailable: an
interface server says so within a second. A transaction takes tens of microseconds; only a process that is stuck holds a
lock for so long."""

NEXT_SECONDS = 0.05
"""Longest wait of the next call when that time has passed in vain."""

CROWDED_SECONDS = 4.0
"""Longest wait while others make progress: on an overloaded machine, turns are long."""

T = TypeVar("T")


class Patience:
    """The time that those who need a lock wait for it, one after the other, counts together.

    Used by one thread at a time. SQLite's own waiting starts with whole milliseconds; a transaction here takes a
    fraction of one.
    """

    def __init__(self) -> None:
        self._since = self._last = 0.0
        self._seen: object = None

    def retry(self, work: Callable[[], T], version: Callable[[], object]) -> T:
        """Do ``work`` again, which was busy and has no effect when it is, until it is not.

        No error is kept in a variable: it leads to the frames of all callers. They would lead to it, and would be kept
        with the messages in them until the garbage collector comes.

        Args:
            version: something that changes when others get something done.

        Raises:
            sqlite3.OperationalError: it is still busy.
        """
        now = begun = time.monotonic()
        if now - self._last > LOCK_SECONDS:
            self._since, self._seen = now, version()
        give_up = max(self._since + LOCK_SECONDS, now + NEXT_SECONDS)
        pauses = Backoff(0.000_05, 0.005, factor=1.5)
        while True:
            time.sleep(pauses.next())
            try:
                result = work()
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                self._last = now = time.monotonic()
                if now >= give_up:
                    before, self._seen = self._seen, version()
                    if self._seen == before or now - begun > CROWDED_SECONDS:
                        raise
                    self._since, give_up = now, now + LOCK_SECONDS
            else:
                self._last = 0.0
                return result
