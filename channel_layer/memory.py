"""A channel layer inside one process, for tests and ``runserver``. Thread-safe.

Messages are encoded and decoded as on the wire, so that what passes here passes over Redis. It reads
and writes the same frames and the same in-band memberships as the other backends.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from . import codec, names
from .delivery import Delivery, Outgoing
from .layer import ChannelLayer


class MemoryChannelLayer(ChannelLayer):
    """Channels as deques behind one lock.

    Args:
        clock: seconds, for tests that move time.
        options: those of `ChannelLayer`.
    """

    local_only: ClassVar[bool] = True

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, **options: Any) -> None:
        super().__init__(**options)
        self._clock = clock
        self._lock = threading.RLock()
        self._arrived = threading.Condition(self._lock)
        self._sleepers: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._interrupts = 0
        self._queues: dict[str, deque[tuple[float, bytes]]] = {}
        self._groups: dict[str, dict[str, float]] = {}
        self._sent: Counter[str] = Counter()
        self._full: Counter[str] = Counter()
        self._since = clock()

    # -- messages --------------------------------------------------------------------------------

    def send_many(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """See `ChannelLayer.send_many`; never blocks."""
        refused: list[Outgoing] = []
        with self._lock:
            full: set[str] = set()
            for item in items:
                if item.group:
                    self._send_to_group(item)
                    continue
                reader, local = names.split(item.target)
                frame = codec.frame(codec.DIRECT, local, item.body, item.headers)
                if reader in full or not self._put(reader, frame):
                    full.add(reader)
                    refused.append(item)
            self._wake()
        return refused

    async def asend_many(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """See `ChannelLayer.send_many`."""
        return self.send_many(items)

    def receive_many(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """See `ChannelLayer.receive_many`."""
        for name in channels:
            names.check_receive(name)
        deadline = time.monotonic() + timeout
        with self._lock:
            interrupts = self._interrupts
            while True:
                deliveries = self._take(channels, limit)
                remaining = deadline - time.monotonic()
                if deliveries or remaining <= 0 or self._interrupts != interrupts:
                    return deliveries
                self._arrived.wait(remaining)

    async def areceive_many(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """See `ChannelLayer.receive_many`."""
        for name in channels:
            names.check_receive(name)
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

    def _put_front(self, channel: str, items: Sequence[Outgoing]) -> None:
        reader, local = names.split(channel)
        expires = self._clock() + self.expiry
        with self._lock:
            self._queues.setdefault(reader, deque()).extendleft(
                (expires, codec.frame(codec.DIRECT, local, item.body, item.headers)) for item in reversed(items)
            )
            self._wake()

    # -- groups ----------------------------------------------------------------------------------

    def group_add(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_add`."""
        names.check_group(group)
        reader, local = names.split(names.check_channel(channel))
        with self._lock:
            self._groups.setdefault(group, {})[channel] = self._clock() + self.group_expiry
            if local:
                self._control(reader, codec.membership_frame(codec.JOIN, group, local, int(self.group_expiry)))

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
                reader, local = names.split(channel)
                for group in self.index.forget(reader, local):
                    self._drop(group, channel)

    # -- the rest --------------------------------------------------------------------------------

    def flush(self) -> None:
        """See `ChannelLayer.flush`."""
        with self._lock:
            self._queues.clear()
            self._groups.clear()
            self._expanded.clear()
            self.index.clear()
            self._sent.clear()
            self._full.clear()
            self._since = self._clock()

    def global_statistics(self) -> dict[str, Any]:
        """See `ChannelLayer.global_statistics`."""
        with self._lock:
            return self._statistics(self._sent.total(), self._full.total())

    def channel_statistics(self, channel: str) -> dict[str, Any]:
        """See `ChannelLayer.channel_statistics`."""
        reader = names.split(channel)[0]
        with self._lock:
            queue = self._queues.get(reader, ())
            oldest = min((expires for expires, _ in queue), default=self._clock() + self.expiry)
            return self._statistics(self._sent[reader], self._full[reader]) | {
                "messages_pending": len(queue),
                "messages_max_age": max(0.0, self._clock() + self.expiry - oldest),
            }

    # -- under the lock --------------------------------------------------------------------------

    def _take(self, channels: Sequence[str], limit: int) -> list[Delivery]:
        now = self._clock()
        for name in random.sample(channels, len(channels)):
            queue = self._queues.get(name)
            while queue:
                frames = []
                while queue and len(frames) < limit:
                    expires, frame = queue.popleft()
                    if expires > now:
                        frames.append(frame)
                    else:
                        self.counters.expired += 1
                deliveries = self.open_frames(name, frames)
                if deliveries:
                    return deliveries
            self._queues.pop(name, None)
        return []

    def _put(self, reader: str, frame: bytes) -> bool:
        queue = self._queues.setdefault(reader, deque())
        now = self._clock()
        while queue and queue[0][0] <= now:
            queue.popleft()
            self.counters.expired += 1
        if len(queue) >= self.capacity.of_reader(reader):
            self._full[reader] += 1
            return False
        queue.append((now + self.expiry, frame))
        self._sent[reader] += 1
        return True

    def _send_to_group(self, item: Outgoing) -> None:
        for reader in {names.split(channel)[0] for channel in self._present(item.target)}:
            kind, address = (codec.GROUP, item.target) if reader.endswith("!") else (codec.DIRECT, "")
            if not self._put(reader, codec.frame(kind, address, item.body, item.headers)):
                self.counters.group_full += 1

    def _control(self, reader: str, frame: bytes) -> None:
        self._queues.setdefault(reader, deque()).append((self._clock() + self.group_expiry, frame))
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

    def _statistics(self, sent: int, full: int) -> dict[str, Any]:
        elapsed = max(self._clock() - self._since, 1.0)
        return {
            "messages_count": sent,
            "messages_count_per_second": sent / elapsed,
            "channel_full_count": full,
        }

    def _wake(self) -> None:
        self._arrived.notify_all()
        for loop, arrived in self._sleepers:
            try:
                loop.call_soon_threadsafe(arrived.set)
            except RuntimeError:  # the loop was closed while it slept here
                continue
