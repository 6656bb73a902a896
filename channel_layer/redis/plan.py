"""Calls to Redis, and the meaning of the answers. No I/O."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from .. import codec, names
from ..delivery import Outgoing
from ..layer import Statistics
from ..server_clock import ServerClock
from . import scripts
from .last_will_calls import LastWillCalls
from .scripts import LARGE_BYTES, TIME, Call, FixedCall, LargeCall, LargeWord, Reply, Word, plain
from .send_plan import SendPlan
from .storage import STATISTICS_MS, Storage

MOST_POPS: Final = 256
"""Commands of pops that are kept."""

_expiry_of = struct.Struct(">d").unpack_from
_stamp = struct.Struct(">d").pack


class Planner:
    """Builds calls for one layer.

    Args:
        storage: of the layer.
        last_wills: builds the calls that leave and withdraw last wills.

    Attributes:
        clocks: of the servers, going by what was received last.
    """

    def __init__(self, storage: Storage, last_wills: LastWillCalls) -> None:
        self.storage = storage
        self.clocks = [ServerClock() for _ in storage.shards]
        self._keys = storage.keys
        self._last_wills = last_wills
        self.pop = lru_cache(MOST_POPS)(self._pop)

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
        storage = self.storage
        by_shard: dict[int, tuple[list[str], list[Word], list[list[Outgoing]]]] = {}
        for reader, pairs in run.items():
            shard = storage.host_of(reader)
            key_of = self._keys[shard]
            keys, args, queues = by_shard.setdefault(
                shard, ([key_of.all_statistics], [storage.expiry_ms, STATISTICS_MS], [])
            )
            keys += (key_of.queues + reader, key_of.statistics(reader))
            args += (storage.capacity_of(reader), len(pairs))
            args += storage.frames(reader, pairs)
            queues.append([item for _, item in pairs])
        for shard, (keys, args, queues) in by_shard.items():
            plan.add_push(shard, Call(scripts.PUSH, keys, args), queues)

    def _push_large(self, plan: SendPlan, reader: str, pairs: list[tuple[str, Outgoing]]) -> None:
        shard = self.storage.host_of(reader)
        key_of = self._keys[shard]
        queue = key_of.queues + reader
        now = self.clocks[shard].ms()
        stamp = _stamp(now + self.storage.expiry_ms)
        frames = [LargeWord((stamp, *self.storage.frame_pieces(reader, local, item))) for local, item in pairs]
        push = LargeCall(None, [], ["RPUSH", queue, *frames])
        keys = [key_of.all_statistics, queue, key_of.statistics(reader)]
        args: list[Word] = [
            self.storage.expiry_ms,
            STATISTICS_MS,
            self.storage.capacity_of(reader),
            len(pairs),
            repr(now),
        ]
        # In full: a digest that the server does not know would be found out too late.
        settle = plain(*Call(scripts.PUSH_LARGE, keys, args).command_with_text())
        plan.add_transaction(shard, [push, settle], [item for _, item in pairs])

    def _push_with_last_wills(self, plan: SendPlan, reader: str, pairs: list[tuple[str, Outgoing]]) -> None:
        items = [item for _, item in pairs]
        plan.add_push(self.storage.host_of(reader), self._last_wills.push(reader, pairs), [items])
        if len(self.storage.shards) > 1:
            plan.last_will_homes |= self._last_wills.homes(items)
            elsewhere = [(item, self._last_wills.elsewhere(item)) for item in items]
            plan.last_wills_elsewhere += [(item, last_will) for item, last_will in elsewhere if last_will is not None]

    def _group_send(self, plan: SendPlan, item: Outgoing) -> None:
        shard = self.storage.host_of(item.target)
        keys = self._keys[shard]
        for_processes = codec.frame(codec.GROUP, item.target, item.body, item.headers)
        for_channels = codec.frame(codec.DIRECT, "", item.body, item.headers)
        tickets = ""
        if self.storage.sealer is not None:
            for_processes = self.storage.sealer.for_processes(for_processes, self.storage.expiry)
            for_channels = self.storage.sealer.for_members(item.target, for_channels, self.storage.expiry)
            tickets = keys.ticket(item.target, "")
        args: list[Word] = [
            self.storage.expiry_ms,
            keys.queues,
            keys.presences,
            keys.members(item.target, ""),
            for_processes,
            for_channels,
            tickets,
            int(len(self.storage.shards) > 1),
        ]
        kind = LargeCall if len(item.body) >= LARGE_BYTES else Call
        call = kind(scripts.GROUP_SEND, [keys.group(item.target), keys.all_statistics], args)
        plan.add_group(shard, call, item)

    def pass_on(self, item: Outgoing, channels: Sequence[tuple[str, bytes]]) -> SendPlan:
        """Plan what remains of a message to a group: for ordinary channels, each with its ticket, on any server."""
        plan = SendPlan()
        frame = codec.frame(codec.DIRECT, "", item.body, item.headers)
        if self.storage.sealer is not None:
            frame = self.storage.sealer.for_members(item.target, frame, self.storage.expiry)
        for channel, ticket in channels:
            args: list[Word] = [self.storage.expiry_ms, STATISTICS_MS, self.storage.capacity_of(channel), 1]
            shard = self.storage.host_of(channel)
            keys = self._keys[shard]
            push = [keys.all_statistics, keys.queues + channel, keys.statistics(channel)]
            plan.add_push(shard, Call(scripts.PUSH, push, [*args, frame + ticket]), [[item]])
        return plan

    def put_front(self, shard: int, reader: str, items: Sequence[tuple[str, Outgoing, float | None]]) -> Call:
        """Put messages back to the front of a queue, each with its local part and, if known, when it expires."""
        args: list[Word] = [self.storage.expiry_ms]
        for local, item, until in reversed(items):
            args += (b"" if until is None else _stamp(until), self.storage.frame(reader, local, item))
        return Call(scripts.PUSH_FRONT, [self._keys[shard].queues + reader], args)

    def oldest(self, shard: int, reader: str) -> list[Call]:
        """Ask for what lies at the front of a queue, and the time; see `age`."""
        return [plain("LINDEX", self._keys[shard].queues + reader, 0), TIME]

    # -- receiving -------------------------------------------------------------------------------

    def _pop(self, shard: int, channels: tuple[str, ...], limit: int, block: float) -> tuple[Call, Call]:
        """Take up to ``limit`` frames from the first of the channels that has any, and the time."""
        queues = self._keys[shard].queues
        keys = [queues + name for name in channels]
        head: tuple[Word, ...] = ("BLMPOP", block) if block else ("LMPOP",)
        return FixedCall(*head, len(keys), *keys, "LEFT", "COUNT", limit), TIME

    def popped(
        self, shard: int, reply: Reply, now: Reply
    ) -> tuple[str, Sequence[tuple[bytes | memoryview, float]], int]:
        """Reader, frames still alive with their ends, how many had expired; ``("", [], 0)`` if there was nothing.

        Memory that a `memoryview` among the frames looks at may be used again once that is let go of.

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
        reader = self._keys[shard].reader_of(reply[0])
        frames = [
            (data[8:] if len(data) < LARGE_BYTES else memoryview(data)[8:], expires)
            for data in reply[1]
            if len(data) > 8 and (expires := _expiry_of(data)[0]) > ms
        ]
        return reader, frames, len(reply[1]) - len(frames)

    def renew_presence(self, shard: int, reader: str) -> Call:
        """Say that the process is alive; the answer is nothing if Redis did not know about it.

        A server without memory allows this, and no ``SET``.
        """
        return plain("PEXPIRE", self._keys[shard].presences + reader, self.storage.presence_ms)

    def set_presence(self, shard: int, reader: str) -> Call:
        """Say so for the first time, or again after Redis lost its data."""
        key = self._keys[shard].presences + reader
        return plain("SET", key, self.storage.capacity_of(reader), "PX", self.storage.presence_ms)

    # -- groups ----------------------------------------------------------------------------------

    def join(self, group: str, reader: str, local: str, seconds: float | None = None, tell: bool = True) -> Call:
        """Add a member; ``tell`` its process unless it is the process that says so."""
        ms = self.storage.group_expiry_ms if seconds is None else int(seconds * 1000)
        key_of = self._keys[self.storage.host_of(group)]
        keys = [
            key_of.group(group),
            key_of.members(group, reader),
            key_of.presences + reader,
            key_of.queues + reader,
        ]
        frame = b""
        if local and tell:
            frame = codec.membership_frame(codec.JOIN, group, local, max(1, ms // 1000))
            if self.storage.sealer is not None:
                frame = self.storage.sealer.for_channel(reader, frame, ms / 1000)
        args: list[Word] = [
            reader,
            local,
            ms,
            self.storage.capacity_of(reader),
            self.storage.presence_ms if local else ms,
            self.storage.expiry_ms,
            frame,
        ]
        if self.storage.sealer is not None and not local:
            keys.append(key_of.ticket(group, reader))
            args.append(self.storage.sealer.ticket(group, reader, ms / 1000))
        return Call(scripts.GROUP_JOIN, keys, args)

    def leave(self, group: str, reader: str, local: str, tell: bool = True) -> Call:
        """Remove a member; ``tell`` as in `join`."""
        key_of = self._keys[self.storage.host_of(group)]
        keys = [key_of.group(group), key_of.members(group, reader), key_of.queues + reader]
        frame = b""
        # A process that lives reads it within the time of presence, however short messages live.
        ms = max(self.storage.expiry_ms, self.storage.presence_ms)
        if local and tell:
            frame = codec.membership_frame(codec.LEAVE, group, local, None)
            if self.storage.sealer is not None:
                frame = self.storage.sealer.for_channel(reader, frame, ms / 1000)
        if self.storage.sealer is not None and not local:
            keys.append(key_of.ticket(group, reader))
        return Call(scripts.GROUP_LEAVE, keys, [reader, local, ms, frame])

    def group_channels(self, group: str) -> Call:
        """Ask for the members on one server."""
        keys = self._keys[self.storage.host_of(group)]
        return Call(scripts.GROUP_CHANNELS, [keys.group(group)], [keys.presences, keys.members(group, "")])

    # -- statistics ------------------------------------------------------------------------------

    def statistics(self, shard: int, reader: str | None) -> list[Call]:
        """Ask a server for the statistics of one reader, or of its part of the layer."""
        keys = self._keys[shard]
        counts = plain("HMGET", keys.statistics(reader) if reader else keys.all_statistics, "sent", "full", "since")
        if not reader:
            return [counts, TIME]
        queue = keys.queues + reader
        return [counts, TIME, plain("LLEN", queue), plain("LINDEX", queue, 0)]

    def counts(self, counts: Sequence[bytes | None], now: Reply) -> Statistics:
        """The statistics that a hash holds."""
        sent, full, since = (int(value or 0) for value in counts)
        elapsed = max(1, int(now[0]) - since) if since else 1
        return {
            "messages_count": sent,
            "messages_count_per_second": sent / elapsed,
            "channel_full_count": full,
        }

    def scan(self, shard: int, cursor: bytes) -> Call:
        """Ask a server for some of the layer's keys."""
        return plain("SCAN", cursor, "MATCH", self._keys[shard].pattern(), "COUNT", 1000)

    def members(self, group: str, reader: str) -> Call:
        """Ask for the local parts in a group."""
        return plain("ZRANGE", self._keys[self.storage.host_of(group)].members(group, reader), 0, -1)

    def age(self, oldest: bytes | None, now: Reply) -> float:
        """Seconds the oldest element of a queue has been waiting."""
        if not oldest:
            return 0.0
        ms = int(now[0]) * 1000 + int(now[1]) / 1000
        expires: float = _expiry_of(oldest)[0]
        return max(0.0, (ms + self.storage.expiry_ms - expires) / 1000)
