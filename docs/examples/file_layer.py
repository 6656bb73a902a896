"""A channel layer in one file, for the processes of one machine: an example for those who write a layer.

It keeps the contract and is slow, since each call reads and writes all there is. docs/writing-a-layer.md explains it.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack

from channel_layer import codec, names
from channel_layer.delivery import Delivery, Outgoing
from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable
from channel_layer.layer import ChannelLayer, Statistics

FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.02

State = dict[str, Any]
"""``queues``: reader → entries [expires, frame, whether it is a message]. ``groups``: group → channel → expires.
``sent``, ``full``: reader → count, and "" for all. ``since``: when counting began."""


class FileChannelLayer(ChannelLayer):
    """Channels in a file.

    Args:
        path: the file; another one beside it is the lock.
        clock: seconds, the same in all processes; for tests that move time.
        options: those of `ChannelLayer`.
    """

    def __init__(self, path: str, *, clock: Callable[[], float] = time.time, **options: Any) -> None:
        super().__init__(**options)
        if not Path(path).parent.is_dir():
            raise LayerConfigurationError(f"'path' is in a directory that does not exist: {Path(path).parent}")
        self.path = Path(path)
        self._clock = clock
        self._interrupts = 0

    @contextmanager
    def _opened(self) -> Iterator[State]:
        """The state, which nobody else reads or changes meanwhile. It is replaced as a whole or not at all."""
        try:
            with open(f"{self.path}.lock", "wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                before = self.path.read_bytes() if self.path.exists() else b""
                state = msgpack.unpackb(before) if before else self._empty()
                yield state
                if (after := msgpack.packb(state)) != before:
                    new = self.path.with_suffix(".new")
                    new.write_bytes(after)
                    os.replace(new, self.path)
        except OSError as error:
            raise LayerUnavailable(str(self.path), str(error), uncertain=False) from error

    def _empty(self) -> State:
        return {"queues": {}, "groups": {}, "sent": {}, "full": {}, "since": self._clock()}

    # -- messages --------------------------------------------------------------------------------

    def send_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        refused: list[Outgoing] = []
        full: set[str] = set()
        with self._opened() as state:
            for item in items:
                if item.group:
                    self._send_to_group(state, item)
                    continue
                reader, local = names.split(item.target)
                frame = codec.frame(codec.DIRECT, local, item.body, item.headers)
                # Behind one that was refused nothing is stored, so that order is kept when they are sent again.
                if reader in full or not self._put(state, reader, frame):
                    full.add(reader)
                    refused.append(item)
        return refused

    def _send_to_group(self, state: State, item: Outgoing) -> None:
        """One message for each process: that knows its own members, and looks them up when it receives."""
        for reader in {names.split(channel)[0] for channel in self._members(state, item.target)}:
            kind, address = (codec.GROUP, item.target) if reader.endswith("!") else (codec.DIRECT, "")
            if not self._put(state, reader, codec.frame(kind, address, item.body, item.headers)):
                self.counters.group_full += 1

    def _put(self, state: State, reader: str, frame: bytes) -> bool:
        now = self._clock()
        queue = state["queues"].setdefault(reader, [])
        queue[:] = [entry for entry in queue if entry[0] > now]
        has_room = sum(entry[2] for entry in queue) < self.capacity.of_reader(reader)
        if has_room:
            queue.append([now + self.expiry, frame, True])
        counts = state["sent" if has_room else "full"]
        for key in ("", names.family(reader)):
            counts[key] = counts.get(key, 0) + 1
        return has_room

    def _take(self, channels: Sequence[str], limit: int) -> list[Delivery]:
        with self._opened() as state:
            now = self._clock()
            for reader in random.sample(channels, len(channels)):  # so that no channel starves another
                queue = state["queues"].get(reader, [])
                while queue:
                    taken, queue[:] = queue[:limit], queue[limit:]
                    alive = [(frame, expires) for expires, frame, _ in taken if expires > now]
                    self.counters.expired += len(taken) - len(alive)
                    if deliveries := self.open_frames(reader, alive):
                        return deliveries
        return []

    def receive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        names.check_receivers(channels)
        deadline, interrupts, pause = time.monotonic() + timeout, self._interrupts, FIRST_PAUSE
        while True:
            deliveries = self._take(channels, limit)
            if deliveries or time.monotonic() >= deadline or self._interrupts != interrupts:
                return deliveries
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def areceive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        names.check_receivers(channels)
        deadline, pause = time.monotonic() + timeout, FIRST_PAUSE
        while True:
            deliveries = await asyncio.to_thread(self._take, channels, limit)
            if deliveries or time.monotonic() >= deadline:
                return deliveries
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def interrupt(self) -> None:
        self._interrupts += 1

    def _put_front(self, channel: str, items: Sequence[Outgoing], expires: Sequence[float | None]) -> None:
        reader, local = names.split(channel)
        with self._opened() as state:
            latest = self._clock() + self.expiry
            state["queues"].setdefault(reader, [])[:0] = [
                [until or latest, codec.frame(codec.DIRECT, local, item.body, item.headers), True]
                for item, until in zip(items, expires, strict=True)
            ]

    # -- groups ----------------------------------------------------------------------------------

    def group_add(self, group: str, channel: str) -> None:
        reader, local = names.split(names.check_channel(channel))
        with self._opened() as state:
            members = self._members(state, names.check_group(group))
            members[channel] = max(members.get(channel, 0.0), self._clock() + self.group_expiry)
            state["groups"][group] = members
            if local:
                self._tell(
                    state, reader, codec.membership_frame(codec.JOIN, group, local, math.ceil(self.group_expiry))
                )

    def group_discard(self, group: str, channel: str) -> None:
        reader, local = names.split(names.check_channel(channel))
        with self._opened() as state:
            self._members(state, names.check_group(group)).pop(channel, None)
            if local:
                self._tell(state, reader, codec.membership_frame(codec.LEAVE, group, local, None))

    def group_channels(self, group: str) -> list[str]:
        with self._opened() as state:
            return list(self._members(state, names.check_group(group)))

    async def aforget(self, channels: Iterable[str]) -> None:
        for channel in channels:
            for group in self.index.forget(*names.split(channel)):
                await self.agroup_discard(group, channel)

    def _members(self, state: State, group: str) -> dict[str, float]:
        members: dict[str, float] = state["groups"].get(group, {})
        for channel in [channel for channel, expires in members.items() if expires <= self._clock()]:
            del members[channel]
        return members

    def _tell(self, state: State, reader: str, frame: bytes) -> None:
        """Tell a process of its member, on its own queue: so it gets what is sent from then on, and no more."""
        state["queues"].setdefault(reader, []).append([self._clock() + self.group_expiry, frame, False])

    # -- the rest --------------------------------------------------------------------------------

    def flush(self) -> None:
        with self._opened() as state:
            groups = state["groups"]
            state.update(self._empty())
            for group, members in groups.items():
                for reader, local in map(names.split, members):
                    if local:  # its process still knows it
                        self._tell(state, reader, codec.membership_frame(codec.LEAVE, group, local, None))
        self._copies.clear()

    def global_statistics(self) -> Statistics:
        with self._opened() as state:
            return self._statistics(state, "")

    def channel_statistics(self, channel: str) -> Statistics:
        reader = names.split(names.check_channel(channel))[0]
        with self._opened() as state:
            now = self._clock()
            waiting = [
                expires for expires, _, is_message in state["queues"].get(reader, []) if is_message and expires > now
            ]
            oldest = now + self.expiry - min(waiting) if waiting else 0.0
            found = self._statistics(state, names.family(reader))
            return {**found, "messages_pending": len(waiting), "messages_max_age": oldest}

    def _statistics(self, state: State, of: str) -> Statistics:
        sent = state["sent"].get(of, 0)
        return {
            "messages_count": sent,
            "messages_count_per_second": sent / max(self._clock() - state["since"], 1.0),
            "channel_full_count": state["full"].get(of, 0),
        }

    async def asend_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        return await asyncio.to_thread(self.send_batch, items)

    async def agroup_add(self, group: str, channel: str) -> None:
        await asyncio.to_thread(self.group_add, group, channel)

    async def agroup_discard(self, group: str, channel: str) -> None:
        await asyncio.to_thread(self.group_discard, group, channel)

    def check(self) -> None:
        with self._opened():
            pass

    def describe(self) -> str:
        return f"file {self.path}"
