"""A channel layer inside one process, for tests and ``runserver``. Thread-safe.

Messages are encoded and decoded as on the wire, so that what passes here passes over Redis. It reads
and writes the same frames and the same in-band memberships as the other backends.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from . import codec, names
from .delivery import Delivery, Outgoing
from .inspection import INSPECTION, MOST_BYTES, GroupMembers, GroupSizes, Look, largest
from .layer import ChannelLayer, Statistics
from .members import MembershipIndex
from .reports import REPORTS


class _Queue:
    """Queue of one channel: messages, and between them frames that tell of memberships.

    Those frames count as no messages: they take no capacity and show in no statistics.
    """

    __slots__ = ("_frames", "messages")

    def __init__(self) -> None:
        self._frames: deque[tuple[float, bytes, bool]] = deque()
        self.messages = 0

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, expires: float, frame: bytes) -> None:
        self._frames.append((expires, frame, True))
        self.messages += 1

    def put_front(self, expires: float, frame: bytes) -> None:
        self._frames.appendleft((expires, frame, True))
        self.messages += 1

    def put_control(self, expires: float, frame: bytes) -> None:
        self._frames.append((expires, frame, False))

    def take(self, limit: int, now: float) -> tuple[list[tuple[bytes, float]], int]:
        """Up to ``limit`` frames and when they expire, and how many messages had expired before them."""
        frames: list[tuple[bytes, float]] = []
        expired = 0
        while self._frames and len(frames) < limit:
            expires, frame, is_message = self._frames.popleft()
            self.messages -= is_message
            if expires > now:
                frames.append((frame, expires))
            else:
                expired += is_message
        return frames, expired

    def messages_from(self, newest: bool) -> Iterator[tuple[float, bytes]]:
        """The messages with the times at which they expire, from one end."""
        entries = reversed(self._frames) if newest else iter(self._frames)
        return ((expires, frame) for expires, frame, is_message in entries if is_message)

    def drop_expired(self, now: float) -> int:
        """Remove what has expired, wherever it lies, and return how many messages that were."""
        before = self.messages
        self._frames = deque(entry for entry in self._frames if entry[0] > now)
        self.messages = sum(is_message for _, _, is_message in self._frames)
        return before - self.messages

    def oldest(self, default: float) -> float:
        """The earliest time at which a message expires."""
        return min((expires for expires, _, is_message in self._frames if is_message), default=default)


class MemoryChannelLayer(ChannelLayer):
    """Channels as deques behind one lock.

    Last wills are taken and never carried out: if this process disappears, so do all who could receive what it left.

    Args:
        clock: seconds, for tests that move time.
        options: those of `ChannelLayer`.
    """

    local_only: bool = True
    extensions: list[str] = [*ChannelLayer.extensions, "last_wills", REPORTS, INSPECTION]

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, **options: Any) -> None:
        super().__init__(**options)
        self.index = MembershipIndex(clock)
        self._clock = clock
        self._lock = threading.RLock()
        self._arrived = threading.Condition(self._lock)
        self._sleepers: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._interrupts = 0
        self._queues: dict[str, _Queue] = {}
        self._groups: dict[str, dict[str, float]] = {}
        self._last_wills: set[str] = set()
        self._reports: dict[str, tuple[float, float, bytes]] = {}
        self._sent: Counter[str | None] = Counter()
        self._full: Counter[str | None] = Counter()
        self._since = clock()

    # -- messages --------------------------------------------------------------------------------

    def send_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """See `ChannelLayer.send_batch`; never blocks."""
        refused: list[Outgoing] = []
        with self._lock:
            full: set[str] = set()
            for item in items:
                if item.group:
                    self._send_to_group(item)
                    continue
                last_will = item.last_will
                if last_will is not None and last_will.claims and last_will.channel not in self._last_wills:
                    continue
                reader, local = names.split(item.target)
                frame = codec.frame(codec.DIRECT, local, item.body, item.headers)
                if item.body and (reader in full or not self._put(reader, frame)):
                    full.add(reader)
                    refused.append(item)
                elif last_will is not None:
                    (self._last_wills.discard if last_will.message is None else self._last_wills.add)(last_will.channel)
            self._wake()
        return refused

    async def asend_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """See `ChannelLayer.send_batch`."""
        return self.send_batch(items)

    def receive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """See `ChannelLayer.receive_batch`."""
        names.check_receivers(channels)
        deadline = time.monotonic() + timeout
        with self._lock:
            interrupts = self._interrupts
            while True:
                deliveries = self._take(channels, limit)
                remaining = deadline - time.monotonic()
                if deliveries or remaining <= 0 or self._interrupts != interrupts:
                    return deliveries
                self._arrived.wait(remaining)

    async def areceive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """See `ChannelLayer.receive_batch`."""
        names.check_receivers(channels)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        arrived = asyncio.Event()
        sleeper = (loop, arrived)
        while True:
            with self._lock:
                self._sleepers.discard(sleeper)
                deliveries = self._take(channels, limit)
                remaining = deadline - loop.time()
                if deliveries or remaining <= 0:
                    return deliveries
                arrived.clear()
                self._sleepers.add(sleeper)
            try:
                async with asyncio.timeout(remaining):
                    await arrived.wait()
            except TimeoutError:
                pass
            finally:
                with self._lock:
                    self._sleepers.discard(sleeper)

    def interrupt(self) -> None:
        """See `ChannelLayer.interrupt`."""
        with self._lock:
            self._interrupts += 1
            self._arrived.notify_all()

    def _put_front(self, channel: str, items: Sequence[Outgoing], expires: Sequence[float | None]) -> None:
        reader, local = names.split(channel)
        latest = self._clock() + self.expiry
        with self._lock:
            queue = self._queues.setdefault(reader, _Queue())
            for item, until in zip(reversed(items), reversed(expires), strict=True):
                frame = codec.frame(codec.DIRECT, local, item.body, item.headers)
                queue.put_front(latest if until is None else until, frame)
            self._wake()

    async def aoldest_age(self, channel: str) -> float | None:
        """See `ChannelLayer.aoldest_age`."""
        with self._lock:
            return self._oldest_age(self._queues.get(names.split(channel)[0], _Queue()))

    def waited(self, deliveries: Sequence[Delivery]) -> list[float]:
        """See `ChannelLayer.waited`."""
        latest = self._clock() + self.expiry
        return [max(0.0, latest - item.expires) for item in deliveries if item.expires is not None]

    # -- groups ----------------------------------------------------------------------------------

    def group_add(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_add`."""
        names.check_group(group)
        reader, local = names.split(names.check_channel(channel))
        with self._lock:
            present = self._groups.setdefault(group, {})
            present[channel] = max(present.get(channel, 0.0), self._clock() + self.group_expiry)
            if local:
                self._control(reader, codec.membership_frame(codec.JOIN, group, local, math.ceil(self.group_expiry)))

    async def agroup_add(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_add`."""
        self.group_add(group, channel)

    def group_discard(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_discard`."""
        names.check_group(group)
        reader, local = names.split(names.check_channel(channel))
        with self._lock:
            self._drop(group, channel)
            if local:
                self._control(reader, codec.membership_frame(codec.LEAVE, group, local, None))

    async def agroup_discard(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_discard`."""
        self.group_discard(group, channel)

    def group_channels(self, group: str) -> list[str]:
        """See `ChannelLayer.group_channels`."""
        with self._lock:
            return list(self._present(names.check_group(group)))

    async def aforget(self, channels: Iterable[str]) -> None:
        """See `ChannelLayer.aforget`."""
        with self._lock:
            for channel in channels:
                reader, local = names.split(names.check_channel(channel))
                self.index.forget(reader, local)
                for group in [group for group, present in self._groups.items() if channel in present]:
                    self._drop(group, channel)
                    # The frame that told of it may still be waiting and would bring it back.
                    self._control(reader, codec.membership_frame(codec.LEAVE, group, local, None))

    # -- reports ---------------------------------------------------------------------------------

    def _put_report(self, name: str, data: bytes, seconds: float) -> None:
        now = self._clock()
        with self._lock:
            self._reports[name] = now, now + seconds, data

    async def _aput_report(self, name: str, data: bytes, seconds: float) -> None:
        self._put_report(name, data, seconds)

    def _kept_reports(self) -> list[tuple[str, bytes | None, float]]:
        now = self._clock()
        with self._lock:
            self._reports = {name: kept for name, kept in self._reports.items() if kept[1] > now}
            return [(name, data, now - made) for name, (made, _, data) in self._reports.items()]

    async def _akept_reports(self) -> list[tuple[str, bytes | None, float]]:
        return self._kept_reports()

    # -- inspection ------------------------------------------------------------------------------

    def _look(self, reader: str, limit: int, newest: bool) -> list[Look]:
        found: list[Look] = []
        size = 0
        with self._lock:
            now = self._clock()
            for expires, frame in self._queues.get(reader, _Queue()).messages_from(newest):
                if len(found) == limit or size >= MOST_BYTES:
                    break
                if expires > now:
                    mark = hashlib.blake2b(frame, digest_size=8, key=repr(expires).encode()).hexdigest()
                    found.append(Look(mark, frame, len(frame), max(0.0, now + self.expiry - expires)))
                    size += len(frame)
        return found[::-1] if newest else found

    def _group_sizes(self, limit: int) -> GroupSizes:
        return largest({group: len(present) for group, present in self.memberships().items()}, limit)

    def _group_members(self, group: str, limit: int) -> GroupMembers:
        present = self.group_channels(group)
        return GroupMembers(len(present), present[:limit])

    # -- the rest --------------------------------------------------------------------------------

    def flush(self) -> None:
        """See `ChannelLayer.flush`."""
        with self._lock:
            self._reports.clear()
            self._queues.clear()
            self._groups.clear()
            self._copies.clear()
            self._last_wills.clear()
            self.index.clear()
            self._sent.clear()
            self._full.clear()
            self._since = self._clock()

    def global_statistics(self) -> Statistics:
        """See `ChannelLayer.global_statistics`."""
        with self._lock:
            return self._statistics(None)

    def channel_statistics(self, channel: str) -> Statistics:
        """See `ChannelLayer.channel_statistics`."""
        reader = names.split(names.check_channel(channel))[0]
        with self._lock:
            queue = self._queues.get(reader, _Queue())
            self.counters.expired += queue.drop_expired(self._clock())
            return self._statistics(names.family(reader)) | {
                "messages_pending": queue.messages,
                "messages_max_age": self._oldest_age(queue),
            }

    def waiting(self) -> dict[str, int]:
        """Channels on which messages wait, process-specific ones up to their ``!``, and how many."""
        with self._lock:
            now = self._clock()
            for queue in self._queues.values():
                self.counters.expired += queue.drop_expired(now)
            return {name: queue.messages for name, queue in self._queues.items() if queue.messages}

    def memberships(self) -> dict[str, list[str]]:
        """Groups that have members, and those."""
        with self._lock:
            return {group: list(present) for group in list(self._groups) if (present := self._present(group))}

    # -- under the lock --------------------------------------------------------------------------

    def _take(self, channels: Sequence[str], limit: int) -> list[Delivery]:
        now = self._clock()
        for name in random.sample(channels, len(channels)):
            queue = self._queues.get(name)
            while queue:
                frames, expired = queue.take(max(limit, 1), now)
                self.counters.expired += expired
                deliveries = self.open_frames(name, frames)
                if not queue:
                    del self._queues[name]
                if deliveries:
                    return deliveries
        return []

    def _oldest_age(self, queue: _Queue) -> float:
        latest: float = self._clock() + self.expiry
        return max(0.0, latest - queue.oldest(default=latest))

    def _put(self, reader: str, frame: bytes) -> bool:
        queue = self._queues.setdefault(reader, _Queue())
        now = self._clock()
        if queue.messages >= self.capacity.of_reader(reader):
            self.counters.expired += queue.drop_expired(now)
        has_room = queue.messages < self.capacity.of_reader(reader)
        if has_room:
            queue.put(now + self.expiry, frame)
        counter = self._sent if has_room else self._full
        counter[None] += 1
        counter[names.family(reader)] += 1
        return has_room

    def _send_to_group(self, item: Outgoing) -> None:
        for reader in {names.split(channel)[0] for channel in self._present(item.target)}:
            kind, address = (codec.GROUP, item.target) if reader.endswith("!") else (codec.DIRECT, "")
            if not self._put(reader, codec.frame(kind, address, item.body, item.headers)):
                self.counters.group_full += 1

    def _control(self, reader: str, frame: bytes) -> None:
        self._queues.setdefault(reader, _Queue()).put_control(self._clock() + self.group_expiry, frame)
        self._wake()

    def _present(self, group: str) -> dict[str, float]:
        now = self._clock()
        present = self._groups.get(group, {})
        for channel in [channel for channel, expires in present.items() if expires <= now]:
            self._drop(group, channel)
        return present

    def _drop(self, group: str, channel: str) -> None:
        present = self._groups.get(group)
        if present is not None and present.pop(channel, None) is not None and not present:
            del self._groups[group]

    def _statistics(self, of: str | None) -> dict[str, Any]:
        elapsed = max(self._clock() - self._since, 1.0)
        return {
            "messages_count": self._sent[of],
            "messages_count_per_second": self._sent[of] / elapsed,
            "channel_full_count": self._full[of],
        }

    def _wake(self) -> None:
        self._arrived.notify_all()
        for loop, arrived in self._sleepers:
            try:
                loop.call_soon_threadsafe(arrived.set)
            except RuntimeError:  # the loop was closed while it slept here
                continue
