"""The sqlite layer: the contract of `ChannelLayer` on a file that several processes open."""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import Any

from .. import codec, names, waking
from ..delivery import Delivery, Outgoing
from ..exceptions import LayerConfigurationError, LayerUnavailable
from ..inspection import INSPECTION, GroupMembers, GroupSizes, Look
from ..layer import ChannelLayer, Statistics
from ..members import MembershipIndex
from ..reports import REPORTS
from ..upkeep import BEATS
from . import groups, inspection, last_wills, queues, reports
from .database import BusyError
from .engine import Engine
from .location import Location, default_path
from .schema import clock
from .sweep import sweep

OLDEST_SQLITE = (3, 35)
"""The first version with ``RETURNING``."""

LOOK_SECONDS = 1.0
"""Time between two checks that the open file is still the one under its path."""

MEMBERSHIP_BYTES = 512
"""About what it takes to note a membership."""


class SqliteChannelLayer(ChannelLayer):
    """Channels and groups in a SQLite file, for the processes of one machine, of one user or one group.

    All processes of a project have to find the same file. Without any option it is named after the
    current working directory, so start them in the same one; else give them all the same ``name``, or
    the same ``path``.

    Args:
        path: the file, on a local disk. Default: in shared memory where the system has it, else in the
            temporary directory, there in a directory that is the current user's alone.
        name: tells the default files of several projects apart.
        shared_group: whether processes of several users share the file. ``path`` is to lie in a directory that has the
            group they are all in, and mode 2770. Otherwise the file is its owner's alone, and one that anybody else but
            root could have put there is refused.
        options: those of `ChannelLayer`.

    Raises:
        LayerConfigurationError: an option cannot work, or Python's SQLite is older than 3.35.
    """

    extensions: list[str] = [*ChannelLayer.extensions, "last_wills", REPORTS, INSPECTION]

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        name: str | None = None,
        shared_group: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise LayerConfigurationError(
                f"the sqlite layer needs SQLite 3.35 or later; this Python was built with {sqlite3.sqlite_version}"
            )
        if path is not None and name is not None:
            raise LayerConfigurationError("give the sqlite layer either path or name, not both")
        if shared_group and path is None:
            raise LayerConfigurationError("shared_group needs path: a file in a directory of the group, with mode 2770")
        self.path = default_path(name) if path is None else Path(os.path.abspath(path))
        self._location = Location(self.path, path is None, shared_group)
        self._engines = threading.Lock()
        self._current = self._new_engine()
        self._interrupts = 0
        self._read: set[str] = set()
        self._look_due = self._chores_due = 0.0

    # -- messages --------------------------------------------------------------------------------

    def send_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """See `ChannelLayer.send_batch`; one transaction. Blocks for a second, or four while others write."""
        self._do_chores_if_due()
        engine = self._engine
        engine.space.claim(sum([len(item.body) for item in items]))

        def put(connection: sqlite3.Connection) -> tuple[list[Outgoing], queues.Putting]:
            putting = queues.Putting(connection, self.capacity, self.expiry, self.presence)
            return putting.put(items), putting

        refused, putting = engine.database.write(put)
        self.counters.expired += putting.expired
        self.counters.group_full += putting.group_full
        engine.watch.nudge(putting.readers)
        return refused

    async def asend_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """See `ChannelLayer.send_batch`."""
        return await self._engine.run(partial(self.send_batch, items))

    def receive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """See `ChannelLayer.receive_batch`."""
        names.check_receivers(channels)
        interrupts = self._interrupts
        deliveries = self._take(channels, limit)
        if deliveries or timeout <= 0:
            return deliveries
        return waking.receive(
            partial(self._engine.watch.waiting, channels),
            lambda: self._take(channels, limit),
            timeout,
            lambda: self._interrupts != interrupts,
        )

    async def areceive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """See `ChannelLayer.receive_batch`. Waiting takes no thread."""
        names.check_receivers(channels)
        deliveries = await self._atake(channels, limit)
        if deliveries or timeout <= 0:
            return deliveries
        return await waking.areceive(
            partial(self._engine.watch.waiting, channels), lambda: self._atake(channels, limit), timeout
        )

    def interrupt(self) -> None:
        """See `ChannelLayer.interrupt`."""
        self._interrupts += 1
        self._engine.watch.wake_all()

    def _put_front(self, channel: str, items: Sequence[Outgoing], expires: Sequence[float | None]) -> None:
        reader, local = names.split(channel)
        frames = [
            (codec.frame(codec.DIRECT, local, item.body, item.headers), until)
            for item, until in zip(items, expires, strict=True)
        ]
        engine = self._engine
        engine.database.write(lambda connection: queues.put_front(connection, reader, frames, self.expiry))
        engine.watch.nudge({reader})

    async def aoldest_age(self, channel: str) -> float | None:
        """See `ChannelLayer.aoldest_age`."""
        reader, database = names.split(channel)[0], self._engine.database
        return await self._engine.run(
            lambda: database.read(lambda connection: queues.oldest_age(connection, reader, self.expiry))
        )

    def waited(self, deliveries: Sequence[Delivery]) -> list[float]:
        """See `ChannelLayer.waited`."""
        latest = clock() + self.expiry
        return [max(0.0, latest - item.expires) for item in deliveries if item.expires is not None]

    # -- groups ----------------------------------------------------------------------------------

    def group_add(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_add`."""
        names.check_group(group)
        names.check_channel(channel)
        self._engine.space.claim(MEMBERSHIP_BYTES)
        self._regroup(lambda connection: groups.add(connection, group, channel, math.ceil(self.group_expiry)))

    async def agroup_add(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_add`."""
        await self._engine.run(partial(self.group_add, group, channel))

    def group_discard(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_discard`."""
        names.check_group(group)
        names.check_channel(channel)
        self._regroup(lambda connection: groups.discard(connection, group, channel))

    async def agroup_discard(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_discard`."""
        await self._engine.run(partial(self.group_discard, group, channel))

    def group_channels(self, group: str) -> list[str]:
        """See `ChannelLayer.group_channels`."""
        names.check_group(group)
        return self._engine.database.read(lambda connection: groups.channels(connection, group, self.presence))

    async def aforget(self, channels: Iterable[str]) -> None:
        """See `ChannelLayer.aforget`."""
        gone = [names.check_channel(channel) for channel in channels]
        for channel in gone:
            self.index.forget(*names.split(channel))

        def forget(connection: sqlite3.Connection) -> groups.Frames:
            return [frame for channel in gone for frame in groups.forget(connection, channel)]

        await self._engine.run(partial(self._regroup, forget))

    # -- reports ---------------------------------------------------------------------------------

    def _put_report(self, name: str, data: bytes, seconds: float) -> None:
        engine = self._engine
        engine.space.claim(len(data))
        engine.database.write(lambda connection: reports.put(connection, name, data, seconds))

    async def _aput_report(self, name: str, data: bytes, seconds: float) -> None:
        await self._engine.run(partial(self._put_report, name, data, seconds))

    def _kept_reports(self) -> list[tuple[str, bytes | None, float]]:
        return self._engine.database.read(reports.kept)

    async def _akept_reports(self) -> list[tuple[str, bytes | None, float]]:
        return await self._engine.run(self._kept_reports)

    # -- inspection ------------------------------------------------------------------------------

    def _look(self, reader: str, limit: int, newest: bool) -> list[Look]:
        return self._engine.database.read(
            lambda connection: inspection.look(connection, reader, limit, newest, self.expiry)
        )

    def _group_sizes(self, limit: int) -> GroupSizes:
        return self._engine.database.read(lambda connection: inspection.group_sizes(connection, limit, self.presence))

    def _group_members(self, group: str, limit: int) -> GroupMembers:
        return self._engine.database.read(
            lambda connection: inspection.group_members(connection, group, limit, self.presence)
        )

    # -- the rest --------------------------------------------------------------------------------

    def flush(self) -> None:
        """See `ChannelLayer.flush`."""

        def clear(connection: sqlite3.Connection) -> groups.Frames:
            connection.execute("DELETE FROM frames")
            connection.execute("DELETE FROM counts")
            connection.execute("DELETE FROM reports")
            connection.execute("UPDATE facts SET value = ? WHERE name = 'since'", (clock(),))
            return groups.dissolve(connection)

        self._regroup(clear)
        self._copies.clear()

    def global_statistics(self) -> Statistics:
        """See `ChannelLayer.global_statistics`."""
        return self._engine.database.read(lambda connection: queues.statistics(connection, None))

    def channel_statistics(self, channel: str) -> Statistics:
        """See `ChannelLayer.channel_statistics`."""
        reader = names.split(names.check_channel(channel))[0]

        def look(connection: sqlite3.Connection) -> dict[str, Any]:
            return queues.statistics(connection, reader) | queues.backlog(connection, reader, self.expiry)

        return self._engine.database.read(look)

    def check(self) -> None:
        """See `ChannelLayer.check`; opens the file and writes to it."""
        self._engine.database.write(lambda connection: None)

    def close(self) -> None:
        """See `ChannelLayer.close`; also ends the thread of the async calls."""
        self._engine.close()

    def describe(self) -> str:
        """See `ChannelLayer.describe`."""
        return f"sqlite file {self.path}"

    # -- inside ----------------------------------------------------------------------------------

    @property
    def _engine(self) -> Engine:
        if self._current.pid != os.getpid():
            with self._engines:
                if self._current.pid != os.getpid():
                    # What the parent reads, and its members there, are the parent's.
                    self._read = set()
                    self.index = MembershipIndex()
                    self._current = self._new_engine()
        return self._current

    def _new_engine(self) -> Engine:
        return Engine(self._location, self._do_chores_if_due)

    def _take(self, channels: Sequence[str], limit: int, abandoned: Callable[[], bool] = bool) -> list[Delivery]:
        """Take messages from the first of the channels that has any, without waiting."""
        new_readers = [name for name in channels if name[-1] == "!" and name not in self._read]
        if new_readers:
            self._beat(new_readers)
            self._read.update(new_readers)
        self._do_chores_if_due()
        database = self._engine.database
        while True:
            ready = database.read(lambda connection: queues.waiting(connection, channels))
            if not ready:
                return []
            for reader in ready:
                deliveries = self._take_from(reader, max(limit, 1), abandoned)
                if deliveries:
                    return deliveries
            if abandoned():
                return []

    def _take_from(self, reader: str, limit: int, abandoned: Callable[[], bool]) -> list[Delivery]:
        def take(connection: sqlite3.Connection) -> tuple[list[tuple[bytes, float]], int]:
            taken = queues.take(connection, reader, limit)
            if abandoned():
                raise _Abandoned
            return taken

        database = self._engine.database
        # The lock keeps two threads from opening what they took in another order.
        with database.lock:
            try:
                frames, expired = database.write(take)
            except _Abandoned:
                return []
            except LayerUnavailable as error:
                self.counters.possible_losses += error.uncertain
                raise
            self.counters.expired += expired
            return self.open_frames(reader, frames)

    async def _atake(self, channels: Sequence[str], limit: int) -> list[Delivery]:
        """`_take` in the other thread. If it is cancelled, nothing is taken."""
        abandoned = threading.Event()
        try:
            return await self._engine.run(partial(self._take, channels, limit, abandoned.is_set))
        except asyncio.CancelledError:
            abandoned.set()
            raise

    def _regroup(self, change: Callable[[sqlite3.Connection], groups.Frames]) -> None:
        """Change memberships and tell the processes concerned, in one transaction."""
        self._engine.database.write(
            lambda connection: queues.put_control(connection, change(connection), self.group_expiry)
        )

    def _beat(self, readers: Iterable[str]) -> None:
        """Say that these channels are read here, and put back what the file has lost or others took for abandoned."""

        def beat(connection: sqlite3.Connection) -> dict[str, set[str]]:
            unknown = [reader for reader in readers if not groups.beat(connection, reader, self.presence)]
            for reader in unknown:
                groups.restore(connection, reader, self.index.memberships(reader))
            return {reader: last_wills.carried_out(connection, reader) for reader in unknown}

        for reader, carried_out in self._engine.database.write(beat).items():
            self._tell_of_last_wills(reader, carried_out)

    def _carry_out_last_wills(self) -> None:
        """Send what processes have left that have disappeared."""
        database = self._engine.database
        for reader in database.read(lambda connection: last_wills.silent(connection, self.presence)):

            def carry_out(connection: sqlite3.Connection, reader: str = reader) -> tuple[bool, AbstractSet[str]]:
                putting = queues.Putting(connection, self.capacity, self.expiry)
                more = last_wills.carry_out(connection, reader, self.presence, putting.put_frame)
                putting.finish()
                return more, putting.readers

            more = True
            while more:
                more, written = database.write(carry_out)
                self._engine.watch.nudge(written)

    def _do_chores_if_due(self) -> None:
        now = clock()
        if now < self._look_due and now < self._chores_due:
            return
        engine = self._engine
        is_replaced = engine.database.is_replaced
        if now < self._chores_due and not is_replaced:
            self._look_due = now + LOOK_SECONDS
            return
        if engine.database.is_hurried:
            raise BusyError  # these take their time
        self._chores_due = now + self.presence / BEATS
        self._look_due = now + LOOK_SECONDS
        if is_replaced:
            engine.database.close()
            engine.watch.reopen()
        if self._read:
            self._beat(tuple(self._read))
        self.counters.expired += engine.database.write(lambda connection: sweep(connection, self.presence))
        self._carry_out_last_wills()


class _Abandoned(Exception):
    """Raised when the caller that asked for messages has gone; they stay where they were."""
