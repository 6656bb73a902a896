"""Index of the groups that a process's own channels are in.

A message to a group crosses the broker once per process; the process finds its members here. `JOIN`
and `LEAVE` frames arrive on the same queue as the messages, so a member gets exactly the messages
that were sent between the two.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator


class MembershipIndex:
    """Group → local parts, for every name (up to ``!``) that this layer object reads.

    Thread-safe. Times are seconds of a clock that never jumps.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._groups: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
        self._joined: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._snapshots: dict[tuple[str, str], tuple[float, tuple[str, ...]]] = {}

    def join(self, reader: str, group: str, local: str, seconds: float) -> None:
        """Record that ``local`` is in ``group`` for so many seconds from now, or for longer if it was already."""
        with self._lock:
            present = self._groups[reader].setdefault(group, {})
            present[local] = max(present.get(local, 0.0), self._clock() + seconds)
            self._joined[reader, local].add(group)
            self._snapshots.pop((reader, group), None)

    def leave(self, reader: str, group: str, local: str) -> None:
        """Forget that ``local`` was in ``group``; no error if it was not."""
        with self._lock:
            self._remove(reader, group, local)

    def forget(self, reader: str, local: str) -> list[str]:
        """Remove ``local`` from all groups and return those it was in."""
        with self._lock:
            groups = sorted(self._joined.get((reader, local), ()))
            for group in groups:
                self._remove(reader, group, local)
            return groups

    def members(self, reader: str, group: str) -> tuple[str, ...]:
        """Local parts in the group now. The tuple is shared and does not change afterwards."""
        with self._lock:
            cached = self._snapshots.get((reader, group))
            now = self._clock()
            if cached is not None and now < cached[0]:
                return cached[1]
            present = self._groups[reader].get(group, {})
            for local in [local for local, deadline in present.items() if deadline <= now]:
                self._remove(reader, group, local)
            snapshot = tuple(present)
            if snapshot:
                self._snapshots[reader, group] = (min(present.values()), snapshot)
            return snapshot

    def groups_of(self, reader: str, local: str) -> list[str]:
        """Groups that ``local`` is in now, in the order of their names."""
        with self._lock:
            now = self._clock()
            present = self._groups.get(reader, {})
            joined = self._joined.get((reader, local), ())
            return sorted(group for group in joined if present.get(group, {}).get(local, 0.0) > now)

    def memberships(self, reader: str) -> Iterator[tuple[str, str, float]]:
        """All of a reader's memberships as (group, local part, seconds left)."""
        with self._lock:
            now = self._clock()
            every = [
                (group, local, deadline - now)
                for group, present in self._groups.get(reader, {}).items()
                for local, deadline in present.items()
                if deadline > now
            ]
        return iter(every)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._groups.clear()
            self._joined.clear()
            self._snapshots.clear()

    def _remove(self, reader: str, group: str, local: str) -> None:
        self._snapshots.pop((reader, group), None)
        present = self._groups.get(reader, {}).get(group)
        if present is not None and present.pop(local, None) is not None and not present:
            del self._groups[reader][group]
        joined = self._joined.get((reader, local))
        if joined is not None:
            joined.discard(group)
            if not joined:
                del self._joined[reader, local]
