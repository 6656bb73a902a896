"""Looks at the channels and groups on the servers of a layer.

Each call is short, however many keys there are: keys are scanned in steps, and groups are counted by some of their
readers at a time. In between, the servers work for others.
"""

from __future__ import annotations

import hashlib
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from ..cipher import NO_KEYS, SEALED_FOR_CHANNELS
from ..codec import InvalidFrame
from ..inspection import MOST_BYTES, GroupMembers, GroupSizes, Look, largest
from . import scripts
from .scripts import TIME, Call, Reply, plain
from .storage import Storage

SCANNED_KEYS = 250
"""Keys that a server looks at in one step."""

FIRST_READERS = 50
"""Readers of a group that are asked for in the first call, of which a pipeline has many."""

PIPELINE = 500
"""Most that is asked for at a time from then on."""

_expiry_of = struct.Struct(">d").unpack_from


class Inspection:
    """Looks for one layer.

    Args:
        storage: of the layer.
        run: makes calls on a server; raises what the server says against one.
    """

    def __init__(self, storage: Storage, run: Callable[[int, list[Call]], list[Reply]]) -> None:
        self._storage = storage
        self._keys = storage.keys
        self._run = run

    def look(self, reader: str, limit: int, newest: bool) -> list[Look]:
        """Look at elements at one end of a queue, oldest first; that of a process has a part on each server."""
        shards = self._storage.receiving([reader])
        parts = [self._look_on(shard, reader, limit, newest) for shard in shards]
        if len(parts) == 1:
            return parts[0]
        found = sorted((look for part in parts for look in part), key=lambda look: -look.age)
        return found[-limit:] if newest else found[:limit]

    def _look_on(self, shard: int, reader: str, limit: int, newest: bool) -> list[Look]:
        call = Call(scripts.PEEK, [self._keys[shard].queues + reader], [limit, MOST_BYTES, int(newest)])
        [(now, elements)] = self._run(shard, [call])
        latest = float(now) + self._storage.expiry_ms
        return [
            Look(
                hashlib.blake2b(element, digest_size=8).hexdigest(),
                self._frame(reader, element[8:], float(now) / 1000),
                len(element) - 8,
                max(0.0, latest - _expiry_of(element)[0]) / 1000,
            )
            for element in map(bytes, elements)
        ]

    def _frame(self, reader: str, data: bytes, server_time: float) -> bytes | str:
        if self._storage.sealer is None:
            return NO_KEYS if data[0] in SEALED_FOR_CHANNELS else data
        try:
            return self._storage.sealer.open(reader, data, server_time)
        except InvalidFrame as error:
            return str(error)

    def group_sizes(self, limit: int) -> GroupSizes:
        """Count the members of all groups, and keep the largest."""
        sizes: dict[str, int] = defaultdict(int)
        for shard in self._storage.shards:
            for groups in self._groups_on(shard):
                for group, _, size in self._readers(shard, groups):
                    sizes[group] += size
        return largest(sizes, limit)

    def group_members(self, group: str, limit: int) -> GroupMembers:
        """Count the members of a group, and name some of them."""
        total = 0
        channels: list[str] = []
        shard = self._storage.host_of(group)
        for _, reader, size in self._readers(shard, [group]):
            total += size
            if size and len(channels) < limit:
                channels += self._members_in(shard, group, reader, limit - len(channels))
        return GroupMembers(total, channels)

    def _groups_on(self, shard: int) -> Iterator[list[str]]:
        """All groups on a server, some at a time and each once."""
        seen: set[str] = set()
        cursor = b"0"
        while True:
            scan = plain("SCAN", cursor, "MATCH", self._keys[shard].pattern("g:"), "COUNT", SCANNED_KEYS)
            ((cursor, keys),) = self._run(shard, [scan])
            # A scan may name a key twice.
            groups = {group for group in map(self._keys[shard].group_of, keys) if group is not None} - seen
            seen |= groups
            if groups:
                yield sorted(groups)
            if int(cursor) == 0:
                return

    def _readers(self, shard: int, groups: Sequence[str]) -> Iterator[tuple[str, str, int]]:
        """All readers of some groups on a server, as (group, reader, number of members)."""
        now = self._now(shard)
        keys = [self._keys[shard].group(group) for group in groups]
        first = self._run(shard, [plain("ZRANGEBYSCORE", key, now, "+inf", "LIMIT", 0, FIRST_READERS) for key in keys])
        pairs = [(group, name.decode()) for group, found in zip(groups, first, strict=True) for name in found]
        yield from self._counted(shard, now, pairs)
        for group, key, found in zip(groups, keys, first, strict=True):
            if len(found) == FIRST_READERS:
                # By their rank from here on: to begin behind so many of a range of scores, a server counts them off.
                [expired] = self._run(shard, [plain("ZCOUNT", key, "-inf", f"({now}")])
                rank = expired + FIRST_READERS
                while found:
                    [found] = self._run(shard, [plain("ZRANGE", key, rank, rank + PIPELINE - 1)])
                    yield from self._counted(shard, now, [(group, name.decode()) for name in found])
                    rank += PIPELINE

    def _counted(self, shard: int, now: str, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str, int]]:
        """Readers of groups with the number of members. A process that is gone has none."""
        for at in range(0, len(pairs), PIPELINE):
            some = pairs[at : at + PIPELINE]
            calls = []
            for group, reader in some:
                if reader.endswith("!"):
                    calls.append(plain("EXISTS", self._keys[shard].presences + reader))
                    calls.append(plain("ZCOUNT", self._keys[shard].members(group, reader), now, "+inf"))
            counts = iter(self._run(shard, calls) if calls else [])
            for group, reader in some:
                yield group, reader, next(counts) * next(counts) if reader.endswith("!") else 1

    def _members_in(self, shard: int, group: str, reader: str, limit: int) -> list[str]:
        if not reader.endswith("!"):
            return [reader]
        key = self._keys[shard].members(group, reader)
        [found] = self._run(shard, [plain("ZRANGEBYSCORE", key, self._now(shard), "+inf", "LIMIT", 0, limit)])
        return [reader + name.decode() for name in found]

    def _now(self, shard: int) -> str:
        [(seconds, micro)] = self._run(shard, [TIME])
        return repr(int(seconds) * 1000 + int(micro) / 1000)
