"""What to ask Redis for, and what its answers mean. No I/O.

Key schema, behind the layer's prefix::

    c:<reader>           list    queue; a reader is a channel, or a name up to and including "!"
    g:<group>            zset    readers with members in the group → time they expire
    m:<group>:<reader>   zset    local parts in the group → time they expire
    p:<reader>           string  presence: capacity of the reader; expires when its process is gone
    s:<reader>           hash    statistics: sent, full, since; "s:" is the whole layer
    t:<group>:<reader>   string  with encryption: the ticket of an ordinary channel in the group
    w:<reader>           hash    last wills: local part → capacity ":" channel ":" frame
    w:                   zset    processes that have left last wills → when to see whether they are alive
    x:<reader>           set     local parts whose last wills were carried out
    q:<reader>           string  mark of a process that seems to be gone

With several servers everything about a reader lies on the reader's server, its memberships too; a
group is on every server that has readers in it. Last wills are on the server of the channel they are for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

from .. import codec, names
from ..capacity import CapacityRules
from ..cipher import Sealer
from ..delivery import Outgoing
from . import scripts
from .clock import ServerClock
from .last_wills import Testament
from .ring import HashRing
from .scripts import Call, plain
from .send_plan import SendPlan

STATISTICS_MS = 86_400_000

LARGE_BYTES = 16_384
"""From this size on a message is pushed by Redis' own command instead of by a script, see ``push_large.lua``."""

_expiry_of = struct.Struct(">d").unpack_from
_stamp = struct.Struct(">d").pack


class Planner:
    """Builds calls for one layer.

    Args:
        hosts: identities of the servers.
        prefix: put in front of every key.
        expiry, group_expiry: seconds.
        capacity: how much each channel holds.
        sealer: encrypts the frames; without it they are as they are.
        presence: seconds for which a process counts as alive after it last received.

    Attributes:
        last wills: builds the calls that concern last wills.
        clocks: of the servers, going by what was received last.
    """

    statistics_ms = STATISTICS_MS

    def __init__(
        self,
        hosts: list[str],
        prefix: str,
        expiry: float,
        group_expiry: float,
        capacity: CapacityRules,
        sealer: Sealer | None = None,
        presence: float = 30,
    ) -> None:
        self.ring = HashRing(hosts)
        self.clocks = [ServerClock() for _ in hosts]
        self.shards = range(len(hosts))
        self.prefix = prefix
        self.queue_prefix = f"{prefix}c:"
        self.presence_prefix = f"{prefix}p:"
        self.all_statistics = f"{prefix}s:"
        self.expiry_ms = int(expiry * 1000)
        self._presence_ms = int(presence * 1000)
        self._group_expiry_ms = int(group_expiry * 1000)
        self._capacity = capacity
        self._expiry = expiry
        self._sealer = sealer
        self.last_wills = Testament(self, presence, group_expiry)

    # -- sending ---------------------------------------------------------------------------------

    def send(self, items: Sequence[Outgoing]) -> SendPlan:
        """Plan a batch. Runs of messages to channels share one script call per server; order is kept."""
        plan = SendPlan()
        plan.count = len(items)
        run: dict[str, list[tuple[str, Outgoing]]] = {}
        willed: set[str] = set()
        large: set[str] = set()
        for item in items:
            if item.group:
                self._push_run(plan, run, willed, large)
                run = {}
                self._group_send(plan, item)
            else:
                reader, local = names.split(item.target)
                run.setdefault(reader, []).append((local, item))
                if item.last_will is not None:
                    willed.add(reader)
                if len(item.body) >= LARGE_BYTES:
                    large.add(reader)
        self._push_run(plan, run, willed, large)
        return plan

    def _push_run(
        self, plan: SendPlan, run: dict[str, list[tuple[str, Outgoing]]], willed: set[str], large: set[str]
    ) -> None:
        for reader in willed & run.keys():
            self._push_with_last_wills(plan, reader, run.pop(reader))
        for reader in large & run.keys():
            self._push_large(plan, reader, run.pop(reader))
        by_shard: dict[int, tuple[list[str], list[Any], list[list[Outgoing]]]] = {}
        for reader, pairs in run.items():
            shard = self.ring.host_of(reader)
            keys, args, queues = by_shard.setdefault(
                shard, ([self.all_statistics], [self.expiry_ms, STATISTICS_MS], [])
            )
            keys += (self.queue_prefix + reader, self.statistics_of(reader))
            args += (self.capacity_of(reader), len(pairs))
            args += [self.frame(reader, local, item) for local, item in pairs]
            queues.append([item for _, item in pairs])
        for shard, (keys, args, queues) in by_shard.items():
            plan.add_push(shard, Call(scripts.PUSH, keys, args), queues)

    def _push_large(self, plan: SendPlan, reader: str, pairs: list[tuple[str, Outgoing]]) -> None:
        shard = self.ring.host_of(reader)
        queue = self.queue_prefix + reader
        now = self.clocks[shard].ms()
        stamp = _stamp(now + self.expiry_ms)
        push = plain("RPUSH", queue, *(stamp + self.frame(reader, local, item) for local, item in pairs))
        keys = [self.all_statistics, queue, self.statistics_of(reader)]
        args = [self.expiry_ms, STATISTICS_MS, self.capacity_of(reader), len(pairs), repr(now)]
        # In full: a digest that the server does not know would be found out too late.
        settle = plain(*Call(scripts.PUSH_LARGE, keys, args).command_with_text())
        plan.add_transaction(shard, [push, settle], [item for _, item in pairs])

    def _push_with_last_wills(self, plan: SendPlan, reader: str, pairs: list[tuple[str, Outgoing]]) -> None:
        items = [item for _, item in pairs]
        plan.add_push(self.ring.host_of(reader), self.last_wills.push(reader, pairs), [items])
        if len(self.shards) > 1:
            plan.last_will_homes |= self.last_wills.homes(items)
            elsewhere = [(item, self.last_wills.elsewhere(item)) for item in items]
            plan.last_wills_elsewhere += [(item, last_will) for item, last_will in elsewhere if last_will is not None]

    def _group_send(self, plan: SendPlan, item: Outgoing) -> None:
        for_processes = codec.frame(codec.GROUP, item.target, item.body, item.headers)
        for_channels = codec.frame(codec.DIRECT, "", item.body, item.headers)
        tickets = ""
        if self._sealer is not None:
            for_processes = self._sealer.for_processes(for_processes, self._expiry)
            for_channels = self._sealer.for_members(item.target, for_channels, self._expiry)
            tickets = self._ticket(item.target, "")
        members = self._members(item.target, "")
        args = [
            self.expiry_ms,
            self.queue_prefix,
            self.presence_prefix,
            members,
            for_processes,
            for_channels,
            tickets,
        ]
        call = Call(scripts.GROUP_SEND, [self._group(item.target), self.all_statistics], args)
        for shard in self.shards:
            plan.add_group(shard, call, item)

    def put_front(self, channel: str, items: Sequence[Outgoing], expires: Sequence[float | None]) -> tuple[int, Call]:
        """Plan to put messages back to the front of a channel, each with the time it expires if that is known."""
        reader, local = names.split(channel)
        args: list[Any] = [self.expiry_ms]
        for item, until in zip(reversed(items), reversed(expires), strict=True):
            args += (b"" if until is None else _stamp(until), self.frame(reader, local, item))
        return self.ring.host_of(reader), Call(scripts.PUSH_FRONT, [self.queue_prefix + reader], args)

    def oldest(self, reader: str) -> list[Call]:
        """Ask for what lies at the front of a queue, and the time; see `age`."""
        return [plain("LINDEX", self.queue_prefix + reader, 0), plain("TIME")]

    # -- receiving -------------------------------------------------------------------------------

    def by_shard(self, channels: Iterable[str]) -> dict[int, list[str]]:
        """Channels by the server they live on."""
        shards: dict[int, list[str]] = {}
        for name in channels:
            shards.setdefault(self.ring.host_of(name), []).append(name)
        return shards

    def pop(self, channels: Sequence[str], limit: int, block: float) -> list[Call]:
        """Take up to ``limit`` frames from the first of the channels that has any, and the time."""
        keys = [self.queue_prefix + name for name in channels]
        head: tuple[Any, ...] = ("BLMPOP", block) if block else ("LMPOP",)
        return [plain(*head, len(keys), *keys, "LEFT", "COUNT", limit), plain("TIME")]

    def popped(self, shard: int, reply: Any, now: Any) -> tuple[str, list[tuple[bytes, float]], int]:
        """Reader, frames still alive with their ends, how many had expired; ``("", [], 0)`` if there was nothing.

        Args:
            now: the server's answer to ``TIME``, or an error: then its time is estimated.
        """
        if isinstance(now, Exception):
            ms = self.clocks[shard].ms()
        else:
            ms = int(now[0]) * 1000 + int(now[1]) / 1000
            self.clocks[shard].learn(ms)
        if not reply:
            return "", [], 0
        reader = reply[0].decode()[len(self.queue_prefix) :]
        frames = [(data[8:], expires) for data in reply[1] if len(data) > 8 and (expires := _expiry_of(data)[0]) > ms]
        return reader, frames, len(reply[1]) - len(frames)

    def renew_presence(self, reader: str) -> Call:
        """Say that the process is alive; the answer is nothing if Redis did not know about it.

        A server without memory allows this, and no ``SET``.
        """
        return plain("PEXPIRE", self.presence_prefix + reader, self._presence_ms)

    def set_presence(self, reader: str) -> Call:
        """Say so for the first time, or again after Redis lost its data."""
        return plain("SET", self.presence_prefix + reader, self.capacity_of(reader), "PX", self._presence_ms)

    # -- groups ----------------------------------------------------------------------------------

    def join(self, group: str, reader: str, local: str, seconds: float | None = None, tell: bool = True) -> Call:
        """Add a member; ``tell`` its process unless it is the process that says so."""
        ms = self._group_expiry_ms if seconds is None else int(seconds * 1000)
        keys = [
            self._group(group),
            self._members(group, reader),
            self.presence_prefix + reader,
            self.queue_prefix + reader,
        ]
        frame = b""
        if local and tell:
            frame = codec.membership_frame(codec.JOIN, group, local, max(1, ms // 1000))
            if self._sealer is not None:
                frame = self._sealer.for_channel(reader, frame, ms / 1000)
        args = [
            reader,
            local,
            ms,
            self.capacity_of(reader),
            self._presence_ms if local else ms,
            self.expiry_ms,
            frame,
        ]
        if self._sealer is not None and not local:
            keys.append(self._ticket(group, reader))
            args.append(self._sealer.ticket(group, reader, ms / 1000))
        return Call(scripts.GROUP_JOIN, keys, args)

    def leave(self, group: str, reader: str, local: str, tell: bool = True) -> Call:
        """Remove a member; ``tell`` as in `join`."""
        keys = [self._group(group), self._members(group, reader), self.queue_prefix + reader]
        frame = b""
        # A process that lives reads it within the time of presence, however short messages live.
        ms = max(self.expiry_ms, self._presence_ms)
        if local and tell:
            frame = codec.membership_frame(codec.LEAVE, group, local, None)
            if self._sealer is not None:
                frame = self._sealer.for_channel(reader, frame, ms / 1000)
        if self._sealer is not None and not local:
            keys.append(self._ticket(group, reader))
        return Call(scripts.GROUP_LEAVE, keys, [reader, local, ms, frame])

    def group_channels(self, group: str) -> Call:
        """Ask for the members on one server."""
        return Call(scripts.GROUP_CHANNELS, [self._group(group)], [self.presence_prefix, self._members(group, "")])

    # -- statistics ------------------------------------------------------------------------------

    def statistics(self, reader: str | None) -> list[Call]:
        """Ask for the statistics of one reader, or of the layer's part on a server."""
        counts = plain("HMGET", self.statistics_of(reader) if reader else self.all_statistics, "sent", "full", "since")
        if not reader:
            return [counts, plain("TIME")]
        queue = self.queue_prefix + reader
        return [counts, plain("TIME"), plain("LLEN", queue), plain("LINDEX", queue, 0)]

    def counts(self, counts: Sequence[bytes | None], now: Any) -> dict[str, Any]:
        """The statistics that a hash holds."""
        sent, full, since = (int(value or 0) for value in counts)
        elapsed = max(1, int(now[0]) - since) if since else 1
        return {
            "messages_count": sent,
            "messages_count_per_second": sent / elapsed,
            "channel_full_count": full,
        }

    def scan(self, cursor: bytes) -> Call:
        """Ask for some of the layer's keys."""
        pattern = "".join(f"\\{char}" if char in "*?[]^\\" else char for char in self.prefix) + "*"
        return plain("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)

    def memberships(self, keys: Iterable[bytes]) -> list[tuple[str, str]]:
        """Group and reader of those of the keys that hold the members of a group in one process."""
        head = f"{self.prefix}m:"
        found = [key.decode()[len(head) :].split(":", 1) for key in keys if key.startswith(head.encode())]
        return [(group, reader) for group, reader in found]

    def members(self, group: str, reader: str) -> Call:
        """Ask for the local parts in a group."""
        return plain("ZRANGE", self._members(group, reader), 0, -1)

    def age(self, oldest: bytes | None, now: Any) -> float:
        """Seconds the oldest element of a queue has been waiting."""
        if not oldest:
            return 0.0
        ms = int(now[0]) * 1000 + int(now[1]) / 1000
        expires: float = _expiry_of(oldest)[0]
        return max(0.0, (ms + self.expiry_ms - expires) / 1000)

    def _group(self, group: str) -> str:
        return f"{self.prefix}g:{group}"

    def _members(self, group: str, reader: str) -> str:
        return f"{self.prefix}m:{group}:{reader}"

    def _ticket(self, group: str, reader: str) -> str:
        return f"{self.prefix}t:{group}:{reader}"

    def frame(self, reader: str, local: str, item: Outgoing, good_for: float = 0) -> bytes:
        """A message to a channel as it lies on the queue; it may be put there within ``good_for`` seconds."""
        frame = codec.frame(codec.DIRECT, local, item.body, item.headers)
        return frame if self._sealer is None else self._sealer.for_channel(reader, frame, self._expiry + good_for)

    def capacity_of(self, reader: str) -> int:
        """How many messages a reader's queue holds."""
        return self._capacity.of_reader(reader)

    def statistics_of(self, reader: str) -> str:
        """Key of a reader's statistics."""
        # Names with a random part would leave one hash each behind, so their mark stands for all of them.
        head, mark, _ = reader.partition("?")
        return f"{self.prefix}s:{head}{mark}"
