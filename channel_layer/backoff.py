"""Pauses between attempts: longer after each, and spread, so that many who failed together do not return together."""

from __future__ import annotations

import random

SPREAD = 0.25
"""Share by which a pause is made shorter or longer at random."""


def jittered(seconds: float) -> float:
    """Spread one pause by up to `SPREAD` in either direction."""
    return seconds * random.uniform(1 - SPREAD, 1 + SPREAD)


class Backoff:
    """The pauses of one series of attempts.

    Not thread-safe; each series has its own.

    Args:
        first: seconds of the first pause, before it is spread.
        longest: seconds that no pause exceeds, before it is spread.
        factor: by how much each pause is longer than the one before.
    """

    __slots__ = ("_factor", "_first", "_longest", "_seconds")

    def __init__(self, first: float, longest: float, factor: float = 2.0) -> None:
        self._first = first
        self._longest = longest
        self._factor = factor
        self._seconds = first

    def next(self) -> float:
        """Seconds to pause before the next attempt."""
        pause = jittered(self._seconds)
        self._seconds = min(self._longest, self._seconds * self._factor)
        return pause

    @property
    def fresh(self) -> bool:
        """No pause has been taken since the start or the last `reset`."""
        return self._seconds == self._first

    def reset(self) -> None:
        """Begin again with the first pause, after an attempt that succeeded."""
        self._seconds = self._first
