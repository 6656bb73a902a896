"""Heartbeat of a process, and the data to put back after Redis lost it. No I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from ..members import MembershipIndex
from .plan import Planner
from .scripts import Call, Reply

RENEWALS = 15
"""Number of heartbeats, in the time of ``presence``, of a process that receives on its own channels."""

RESTORE_BATCH = 500
"""Memberships put back in one pipeline."""


class Presence:
    """Says for each process-specific reader that its process is alive.

    The renewals ride with the pops. A renewal that Redis answers with nothing means that the data was
    lost, or the process was away too long; then this process, which knows its members, puts the
    memberships back.
    """

    def __init__(self, plan: Planner, index: MembershipIndex, presence: float = 30) -> None:
        self._plan = plan
        self._every = presence / RENEWALS
        self._overdue = presence * 0.8
        self._index = index
        self._renewed: dict[str, float] = {}
        self._answered: dict[str, float] = {}

    def due(self, channels: Sequence[str]) -> list[Call]:
        """Calls to put in front of a pop."""
        calls = []
        for reader in channels:
            if reader.endswith("!"):
                before = self._renewed.get(reader)
                now = time.monotonic()
                if before is None or now - before >= self._every:
                    self._renewed[reader] = now
                    calls.append(
                        self._plan.set_presence(reader) if before is None else self._plan.renew_presence(reader)
                    )
        return calls

    def lost(self, channels: Sequence[str], replies: Sequence[Reply]) -> list[str]:
        """Readers to restore, going by the replies to the calls from `due`.

        Also those that were not renewed for long: somebody who added a member may have set the presence meanwhile.
        """
        if not replies:
            return []
        now = time.monotonic()
        readers = [reader for reader in channels if reader.endswith("!")]
        lost = [
            reader for reader in readers if not all(replies) or now - self._answered.get(reader, now) >= self._overdue
        ]
        self._answered.update(dict.fromkeys(readers, now))
        return lost

    def restore(self, reader: str) -> Iterator[list[Call]]:
        """Pipelines that put the presence and the memberships of a reader back."""
        batch = [self._plan.set_presence(reader)]
        for group, local, seconds in self._index.memberships(reader):
            batch.append(self._plan.join(group, reader, local, seconds, tell=False))
            if len(batch) == RESTORE_BATCH:
                yield batch
                batch = []
        yield batch

    def reconnect(self, channels: Sequence[str]) -> None:
        """Renew with the next pop: the connection was lost, and perhaps the data with it, or the server refused."""
        for reader in channels:
            if reader.endswith("!"):
                self._renewed[reader] = time.monotonic() - self._every

    def restore_again(self, reader: str) -> None:
        """Not all of a reader was put back: let its next renewal count as lost."""
        self._answered[reader] = time.monotonic() - self._overdue

    def restore_all(self, concerns: Callable[[str], bool]) -> None:
        """Let the next renewal of each reader count as lost that is among those concerned."""
        readers = [reader for reader in list(self._renewed) if concerns(reader)]
        for reader in readers:
            self.restore_again(reader)
        self.reconnect(readers)
