"""The calls that leave, withdraw and carry out last wills; see `channel_layer.redis.last_wills`. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .. import names
from ..delivery import LastWill, Outgoing
from . import scripts
from .scripts import Call, Word, plain
from .storage import STATISTICS_MS, Storage

CHUNK = 200
"""Last wills carried out in one call, which Redis spends some hundred microseconds with."""


class LastWillCalls:
    """Builds the calls that leave, withdraw and carry out last wills.

    Args:
        storage: of the layer. Last wills are kept as long as memberships after nobody has looked at them any more.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._keys = storage.keys

    def push(self, reader: str, pairs: Sequence[tuple[str, Outgoing]]) -> Call:
        """Push messages to one queue, as (local part, message), with what they do to last wills."""
        storage = self._storage
        shard = storage.host_of(reader)
        key_of = self._keys[shard]
        keys = [key_of.all_statistics, key_of.queues + reader, key_of.statistics(reader), key_of.processes]
        args: list[Word] = [
            storage.expiry_ms,
            STATISTICS_MS,
            storage.capacity_of(reader),
            key_of.last_wills,
            key_of.carried_out,
            storage.presence_ms,
            storage.group_expiry_ms,
        ]
        processes: dict[str, None] = {}
        for local, item in pairs:
            args.append(storage.frame(reader, local, item) if item.body else b"")
            last_will = item.last_will
            if last_will is None or (last_will.message is not None and self.home(last_will.message) != shard):
                args += ("", "", "")
            else:
                process, member = names.split(last_will.channel)
                processes[process] = None
                args += (process, member, self._encoded(last_will))
        for process in processes:  # so that a cluster's node says before it begins whether one of them is elsewhere
            keys += [key_of.last_wills + process, key_of.carried_out + process]
        return Call(scripts.PUSH_WITH_LAST_WILLS, keys, args)

    def home(self, message: Outgoing) -> int:
        """The server where the last will to send a message lies."""
        return self._storage.host_of(names.split(message.target)[0])

    def homes(self, items: Iterable[Outgoing]) -> set[tuple[str, int]]:
        """Processes that leave last wills with these messages, and the servers where those lie."""
        last_wills = [item.last_will for item in items if item.last_will is not None]
        return {
            (names.split(last_will.channel)[0], self.home(last_will.message))
            for last_will in last_wills
            if last_will.message is not None
        }

    def elsewhere(self, item: Outgoing) -> Outgoing | None:
        """The last will of a message as an item of its own, if it does not lie where the message does."""
        last_will = item.last_will
        if last_will is None or last_will.message is None or self.home(last_will.message) == self.home(item):
            return None
        alone = Outgoing(last_will.message.target, b"")
        alone.last_will = last_will
        return alone

    def carry_out(self, shard: int) -> Call:
        """Carry out some of the last wills on a server of those who have gone."""
        storage, keys = self._storage, self._keys[shard]
        args: list[Word] = [
            storage.expiry_ms,
            STATISTICS_MS,
            keys.presences,
            keys.last_wills,
            keys.carried_out,
            keys.marks,
            keys.queues,
            keys.all_statistics,
            storage.presence_ms // 3,
            storage.group_expiry_ms,
            CHUNK,
        ]
        return Call(scripts.CARRY_OUT_LAST_WILLS, [keys.processes, keys.all_statistics], args)

    def carried_out(self, shard: int, process: str) -> Call:
        """Ask a server for the local parts of a process whose last wills were carried out."""
        return plain("SMEMBERS", self._keys[shard].carried_out + process)

    def _encoded(self, last_will: LastWill) -> bytes:
        message = last_will.message
        if message is None:
            return b"?" if last_will.claims else b""
        target, local = names.split(message.target)
        frame = self._storage.frame(target, local, message, good_for=self._storage.group_expiry)
        return b"%d:%b:%b" % (self._storage.capacity_of(target), target.encode(), frame)
