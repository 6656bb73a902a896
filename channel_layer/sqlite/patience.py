"""Waiting for locks of other processes, for not too long altogether."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from .errors import is_busy

LOCK_SECONDS = 0.7
"""How long to wait for other processes that write, before the layer counts as unavailable: an interface server says
so within a second. A transaction takes tens of microseconds; only a process that is stuck holds a lock for so long."""

NEXT_SECONDS = 0.05
"""How long the next one waits when that time has passed in vain."""

T = TypeVar("T")


class Patience:
    """The time that those who need a lock wait for it, one after the other, counts together.

    Used by one thread at a time. SQLite's own waiting starts with whole milliseconds; a transaction here takes a
    fraction of one.
    """

    def __init__(self) -> None:
        self._since = self._last = 0.0

    def retry(self, work: Callable[[], T], busy: sqlite3.OperationalError) -> T:
        """Do ``work`` again, which was ``busy`` and has no effect when it is, until it is not.

        Raises:
            sqlite3.OperationalError: it is still busy.
        """
        now = time.monotonic()
        if now - self._last > LOCK_SECONDS:
            self._since = now
        give_up = max(self._since + LOCK_SECONDS, now + NEXT_SECONDS)
        pause = 0.000_05
        while now < give_up:
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, 0.005)
            try:
                result = work()
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                busy = error
                self._last = now = time.monotonic()
            else:
                self._last = 0.0
                return result
        raise busy
