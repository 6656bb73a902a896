"""Places for coroutines: how many a worker has under way, and which channels have consumers that need one."""

from __future__ import annotations

import threading


class Slots:
    """Counts the coroutines of a worker, so that it takes no more messages for them than it can begin.

    Which channels are dealt with by coroutines shows when the first of them turns up. From then on a
    thread takes a message of such a channel only together with a place for it. Thread-safe.

    Args:
        most: coroutines at a time.

    Attributes:
        channels: those on which a coroutine has turned up.
        freed: set when there is a place again after there was none.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.freed = threading.Event()
        self.channels: frozenset[str] = frozenset()
        self._taken = 0
        self._changed = threading.Condition()
        self._mine = threading.local()

    @property
    def taken(self) -> int:
        """How many places are taken. More than there are if several threads met a new channel's first coroutines."""
        return self._taken

    @property
    def free(self) -> int:
        """How many places are left."""
        return max(0, self.most - self._taken)

    def admits(self, channel: str) -> bool:
        """Whether the calling thread may run a message now; if it may need a place, the thread gets it.

        What became of the place is said by `keep` or `give_up` before the thread takes another message.
        """
        if channel not in self.channels:
            return True
        with self._changed:
            if self._taken >= self.most:
                return False
            self._taken += 1
        self._mine.place = True
        return True

    def keep(self, channel: str) -> None:
        """The message needs a place, the one the thread got or, if the channel was not known, a new one."""
        if getattr(self._mine, "place", False):
            self._mine.place = False
            return
        with self._changed:
            self._taken += 1
            self.channels |= {channel}

    def give_up(self) -> None:
        """The message needed no place after all."""
        if self.channels and getattr(self._mine, "place", False):
            self._mine.place = False
            self.release()

    def release(self) -> None:
        """A coroutine has ended."""
        with self._changed:
            self._taken -= 1
            if self._taken == self.most - 1:
                self.freed.set()
                self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait until a place is free, somebody calls `wake`, or the time is over."""
        with self._changed:
            if self._taken >= self.most:
                self._changed.wait(seconds)

    def wake(self) -> None:
        """Have those who wait look around."""
        with self._changed:
            self._changed.notify_all()
