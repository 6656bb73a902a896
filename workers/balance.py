"""The share of one worker in all instances: above it, it gives quiet ones away, until it has about as many as others.

A worker that has many asks the others how many they have, in the group of those that host applications. Those that
stop, or are full, do not answer; nor do those that take no instances over. An instance that is given away is made again
at once, by one of those below their share: meanwhile those above it do not take any over. So the counts stay true, and
no two workers pass instances back and forth.

No I/O happens here.
"""

from __future__ import annotations

from typing import NamedTuple

ROUND_SECONDS = 5.0
"""The time between two questions."""

ANSWER_SECONDS = 2.0
"""The time that others have for their answer."""

HOLD_BACK_SECONDS = 0.5
"""The time from the decision to give away until that is done: by then nothing is taken over here any more."""

REST_SECONDS = 60.0
"""The pause after others have not taken what was given away."""

LEAST_INSTANCES = 40
"""A worker that has fewer gives none away, and asks nobody."""

LEAST_EXCESS = 20
MOST_RATIO = 1.25
"""Above its share by both of these a worker begins to give away; it ends at its share."""

MOST_IN_A_ROUND = 250
MOST_AT_A_TIME = 50
PORTION_SECONDS = 0.5
"""Instances are given away in portions, so much apart: all of a portion are made again at that moment, and an event of
one has to wait for that."""


class Count(NamedTuple):
    """The answer of a worker.

    Attributes:
        instances: that it has.
        room: instances that it can have besides.
    """

    instances: int
    room: int


class Ask(NamedTuple):
    """Ask the others how many instances they have, with the number of the question."""

    number: int


class Give(NamedTuple):
    """Give so many instances away; ``begins`` says that it is the first time for this reason."""

    instances: int
    begins: bool = False


class Balance:
    """Decide when to ask, and how many to give away. The times are those of a clock that does not jump.

    Attributes:
        due_at: the time of the next step.
        holds_back_until: the time until which nothing is to be taken over.
    """

    def __init__(self) -> None:
        self.due_at = 0.0
        self.holds_back_until = 0.0
        self._number = 0
        self._is_asked = False
        self._counts: dict[str, Count] = {}
        self._before: dict[str, Count] = {}
        self._to_give = self._given = 0
        self._is_above = False

    def step(self, own: int, now: float) -> Ask | Give | None:
        """Say what to do now that a step is due.

        Args:
            own: instances that this worker has.
        """
        if self._to_give:
            count = min(self._to_give, MOST_AT_A_TIME)
            self._to_give -= count
            self._given += count
            self.due_at = now + (PORTION_SECONDS if self._to_give else ROUND_SECONDS)
            begins, self._is_above = not self._is_above, True
            return Give(count, begins)
        if self._is_asked:
            self._is_asked = False
            self._decide(own, now)
            return None
        if own < LEAST_INSTANCES:
            self._end(now, ROUND_SECONDS)
            return None
        self._number += 1
        self._is_asked = True
        self._before, self._counts = self._counts, {}
        self.due_at = now + ANSWER_SECONDS
        return Ask(self._number)

    def hear(self, worker: str, number: int, count: Count) -> None:
        """Take the answer of another worker."""
        if number == self._number and self._is_asked:
            self._counts[worker] = count

    def forget(self, worker: str) -> None:
        """Another worker stops, and takes nothing over any more."""
        if self._counts.pop(worker, None) is not None:
            self._to_give = self._given = 0
            self.holds_back_until = 0.0

    def _decide(self, own: int, now: float) -> None:
        others = list(self._counts.values())
        share = (own + sum(one.instances for one in others)) / (1 + len(others))
        least = 1.0 if self._is_above else max(LEAST_EXCESS, share * (MOST_RATIO - 1))
        room = sum(one.room for one in others if one.instances < share)
        if own - share < least or not room:
            self._end(now, ROUND_SECONDS)
        elif self._given and not self._were_taken():
            self._end(now, REST_SECONDS)
        else:
            self._given = 0
            self._to_give = min(int(own - share), MOST_IN_A_ROUND, room)
            self.due_at = now + HOLD_BACK_SECONDS
            giving = PORTION_SECONDS * (self._to_give // MOST_AT_A_TIME)
            self.holds_back_until = self.due_at + giving + ROUND_SECONDS + ANSWER_SECONDS + HOLD_BACK_SECONDS

    def _were_taken(self) -> bool:
        """True if others have taken a good part of what was given away last time."""
        both = self._counts.keys() & self._before.keys()
        return sum(self._counts[name].instances - self._before[name].instances for name in both) >= self._given / 4

    def _end(self, now: float, pause: float) -> None:
        self._is_above = False
        self._given = 0
        self.holds_back_until = 0.0
        self.due_at = now + pause
