"""Numbers of messages sent and refused, which each process adds to records that all can read."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from ..layer import Statistics
from . import records
from .records import Folded, Record
from .schema import FOREVER, Schema
from .session import Session

SUM = "sum"
"""Key of a record that holds what others before it have held."""


class Counts:
    """Counts what this process sends. Runs in one event loop.

    Attributes:
        begun: when the first of those was counted that are not yet written, in seconds since 1970.
    """

    def __init__(self, session: Callable[[], Awaitable[Session]], schema: Schema) -> None:
        self._session = session
        self._queue = schema.counts
        self._counts: dict[str, list[int]] = {}
        self.begun = 0.0

    def add(self, family: str, sent: int, refused: int) -> None:
        """Count messages of a channel, by the name under which it is counted."""
        if not self._counts:
            self.begun = time.time()
        counts = self._counts.setdefault(family, [0, 0])
        counts[0] += sent
        counts[1] += refused

    async def write(self) -> None:
        """Add what was counted to the records.

        Raises:
            LayerUnavailable, AMQPError, OSError: the broker is away; it is not counted then.
        """
        counts, self._counts = self._counts, {}
        if counts:
            session = await self._session()
            await records.add(session, self._queue, "", records.pack(counts), FOREVER, self.begun, _added_up)

    async def total(self, family: str | None) -> Statistics:
        """The numbers of a channel, or of all.

        Raises:
            LayerUnavailable, AMQPError, OSError: the broker is away.
        """
        session = await self._session()
        counts, since = await records.read(session, self._queue, _added_up)
        every = [numbers for name, numbers in counts.items() if family is None or name == family]
        sent = sum(numbers[0] for numbers in every)
        return {
            "messages_count": sent,
            "messages_count_per_second": sent / max(time.time() - since, 1.0),
            "channel_full_count": sum(numbers[1] for numbers in every),
        }

    async def flushed(self, session: Session) -> None:
        """Forget everything, also what other processes have counted and not yet written.

        Raises:
            AMQPError: the connection is lost.
        """
        self._counts = {}
        await records.add(session, self._queue, SUM, records.pack({}), FOREVER)


def _added_up(found: Sequence[Record]) -> Folded[tuple[dict[str, list[int]], float]]:
    """The sums, and from when on they were counted. More than one record are replaced by one."""
    totals: dict[str, list[int]] = {}
    sums = [record.at for record in found if record.key == SUM]
    since = min(sums or [record.at for record in found], default=time.time())
    for record in found:
        if record.value is None or record.at < since:
            continue
        for name, sent, refused in _counts_of(record.value):
            counts = totals.setdefault(name, [0, 0])
            counts[0] += sent
            counts[1] += refused
    if len(found) < 2:
        return Folded((totals, since), set(range(len(found))))
    return Folded((totals, since), set(), [Record(SUM, records.pack(totals), since)])


def _counts_of(value: bytes) -> list[tuple[str, int, int]]:
    """Name, sent and refused of each; nothing of what is none of ours."""
    try:
        return [(str(name), int(sent), int(refused)) for name, (sent, refused) in records.unpack(value).items()]
    except (ValueError, TypeError, AttributeError):
        return []
