"""The limit of coroutines that a worker runs at a time, and the channels whose consumers count against it."""

from __future__ import annotations

import enum
import threading


class Admission(enum.Enum):
    """The answer to a thread that wants to run a message. It is handed back to `keep` or `give_up` of the limit."""

    FREE = enum.auto()
    """No coroutine is expected on the channel: no place is taken."""

    PLACE = enum.auto()
    """A place is taken, to be kept or given up."""

    REFUSED = enum.auto()
    """All places are taken: the message must not be run here now."""


# Looked up for every message: through the class it takes several times as long in Python 3.11.
FREE, PLACE, REFUSED = Admission


class AsyncLimit:
    """Counts the coroutines of a worker, so that it takes no more messages for them than it can begin.

    A channel becomes known for coroutines when its first one turns up. From then on a message of it is run only
    together with a place. Thread-safe.

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

    @property
    def taken(self) -> int:
        """Places that are taken. More than there are if several threads met a new channel's first coroutines."""
        return self._taken

    @property
    def free(self) -> int:
        """Places that are left."""
        return max(0, self.most - self._taken)

    def admit(self, channel: str) -> Admission:
        """Ask to run a message of a channel. Unless refused, follow it up with `keep` or `give_up`."""
        if channel not in self.channels:
            return FREE
        with self._changed:
            if self._taken >= self.most:
                return REFUSED
            self._taken += 1
            return PLACE

    def keep(self, channel: str, admission: Admission) -> None:
        """Count the coroutine of a message until `release`, and expect more of them on its channel."""
        if admission is PLACE:
            return
        with self._changed:
            self._taken += 1
            self.channels |= {channel}

    def give_up(self, admission: Admission) -> None:
        """Free the place of a message that turned out to need none."""
        if admission is PLACE:
            self.release()

    def release(self) -> None:
        """Free the place of a coroutine that has ended."""
        with self._changed:
            self._taken -= 1
            if self._taken == self.most - 1:
                self.freed.set()
                self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Block until a place is free, `wake` is called, or the time is over."""
        with self._changed:
            if self._taken >= self.most:
                self._changed.wait(seconds)

    def wake(self) -> None:
        """End every `wait`."""
        with self._changed:
            self._changed.notify_all()
