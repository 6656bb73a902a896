"""Heartbeat of a process, and the data to put back after Redis lost it. No I/O."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from ..members import MembershipIndex
from .plan import Planner
from .scripts import Call, Reply

RENEWALS = 15
"""Number of heartbeats, in the time of ``presence``, of a process that receives on its own channels."""

RESTORE_BATCH = 500
"""Memberships put back in one pipeline."""


class Presence:
    """Says for each process-specific reader that its process is alive, on every server that it receives from.

    The renewals ride with the pops. A renewal that Redis answers with nothing means that the data was
    lost, or the process was away too long; then this process, which knows its members, puts the
    memberships back.
    """

    def __init__(self, plan: Planner, index: MembershipIndex, presence: float = 30) -> None:
        self._plan = plan
        self._every = presence / RENEWALS
        self._overdue = presence * 0.8
        self._index = index
        self._renewed: dict[tuple[str, int], float] = {}
        self._answered: dict[tuple[str, int], float] = {}

    def due(self, shard: int, channels: Sequence[str]) -> list[Call]:
        """Calls to put in front of a pop on a server."""
        calls = []
        for reader in channels:
            if reader.endswith("!"):
                before = self._renewed.get((reader, shard))
                now = time.monotonic()
                if before is None or now - before >= self._every:
                    self._renewed[reader, shard] = now
                    # An answer that comes very late counts as lost, though it is the first.
                    self._answered.setdefault((reader, shard), now)
                    calls.append(
                        self._plan.set_presence(shard, reader)
                        if before is None
                        else self._plan.renew_presence(shard, reader)
                    )
        return calls

    def lost(self, shard: int, channels: Sequence[str], replies: Sequence[Reply]) -> list[str]:
        """Readers to restore on a server, going by its replies to the calls from `due`.

        Also those that were not renewed for long: somebody who added a member may have set the presence meanwhile.
        """
        if not replies:
            return []
        now = time.monotonic()
        readers = [reader for reader in channels if reader.endswith("!")]
        lost = [
            reader
            for reader in readers
            if not all(replies) or now - self._answered.get((reader, shard), now) >= self._overdue
        ]
        self._answered.update(dict.fromkeys(((reader, shard) for reader in readers), now))
        return lost

    def was_held_up(self, reader: str) -> bool:
        """True if no server has answered a heartbeat for so long that the process may have been taken for gone."""
        latest = max(self._answered.get((reader, shard), 0.0) for shard in self._plan.storage.shards)
        return latest > 0 and time.monotonic() - latest >= self._overdue

    def restore(self, reader: str, shard: int) -> Iterator[list[Call]]:
        """Pipelines that put the presence of a reader on a server back, and its memberships in the groups there."""
        home_of = self._plan.storage.host_of
        batch = [self._plan.set_presence(shard, reader)]
        for group, local, seconds in self._index.memberships(reader):
            if home_of(group) == shard:
                batch.append(self._plan.join(group, reader, local, seconds, tell=False))
                if len(batch) == RESTORE_BATCH:
                    yield batch
                    batch = []
        yield batch

    def reconnect(self, shard: int, channels: Sequence[str]) -> None:
        """Renew with the next pop: the connection was lost, and perhaps the data with it, or the server refused."""
        for reader in channels:
            if reader.endswith("!"):
                self._renewed[reader, shard] = time.monotonic() - self._every

    def restore_again(self, shard: int, readers: Sequence[str]) -> None:
        """Not all of some readers is on a server: let their next renewal count as lost."""
        for reader in readers:
            self._answered[reader, shard] = time.monotonic() - self._overdue

    def restore_soon(self, shard: int, readers: Sequence[str] | None = None) -> None:
        """The same with the next pop; for all readers if none are named."""
        if readers is None:
            readers = [reader for reader, where in list(self._renewed) if where == shard]
        self.restore_again(shard, readers)
        self.reconnect(shard, readers)
