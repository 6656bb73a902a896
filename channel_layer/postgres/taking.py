"""Taking messages off one of several channels, in as many statements as that needs."""

from __future__ import annotations

import random

from .calls import Calls
from .connections import Plan
from .listening import Ear, Mark
from .wire import Rows


class Taking:
    """Looks at some channels in random order, so that none comes first always, until one has something.

    Args:
        calls: the statements.
        ear: remembers which channels were found empty.
        fresh: the channels, as `Ear.fresh` returns them.
        limit: frames to take at once.

    Attributes:
        channel: where the rows came from that the last `plan` returned.
    """

    def __init__(self, calls: Calls, ear: Ear, fresh: dict[str, Mark], limit: int) -> None:
        self._calls = calls
        self._ear = ear
        self._marks = fresh
        self._left = list(fresh) if len(fresh) == 1 else random.sample(list(fresh), len(fresh))
        self._limit = max(limit, 1)
        self.channel = ""

    @property
    def is_over(self) -> bool:
        """True once all the channels were found empty."""
        return not self._left

    def plan(self) -> Plan[Rows]:
        """Take frames off the next channel that has any, if there is one."""
        if len(self._left) == 1:
            found: str | None = self._left[0]
            rows = yield from self._calls.take(self._left[0], self._limit)
        else:
            found, rows = yield from self._calls.take_first(self._left, self._limit)
        place = len(self._left) if found is None else self._left.index(found)
        for name in self._left[:place]:
            self._ear.note(name, self._marks[name])
        if found is not None and len(rows) < self._limit:
            self._ear.note(found, self._marks[found])
            place += 1
        self.channel, self._left = found or "", self._left[place:]
        return rows
