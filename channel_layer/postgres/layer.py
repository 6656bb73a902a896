"""The postgres layer: the contract of `ChannelLayer` on tables of a PostgreSQL database."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg import conninfo

from .. import codec, names, waking
from ..delivery import Delivery, Outgoing
from ..exceptions import LayerConfigurationError, LayerUnavailable
from ..exchange import Exchange
from ..forks import forget_in_children
from ..inspection import INSPECTION, GroupMembers, GroupSizes, Look
from ..layer import ChannelLayer, Statistics
from ..members import MembershipIndex
from ..reports import REPORTS
from ..server_clock import ServerClock
from ..upkeep import BEATS, SWEEP_SECONDS
from .calls import Calls, only_reader
from .connections import Plan
from .drivers import AsyncDriver, Driver, Server
from .exchange import PostgresExchange
from .listening import DEAF_SECONDS, LINGER, Ear, Keeper, Mark, Watch
from .schema import Schema
from .taking import Taking
from .wire import Rows

T = TypeVar("T")

_log = logging.getLogger("channel_layer.postgres")

LOOK_SECONDS = 1.0
"""Longest time for which a process that waits relies on notifications alone."""

COUNT_SECONDS = 1.0
"""Time after which messages sent and refused are added to the statistics that all processes see."""


class PostgresChannelLayer(ChannelLayer):
    """Channels and groups in a PostgreSQL database, version 13 or later.

    Args:
        dsn: where the database is, as libpq takes it: ``postgresql://user:password@host:port/name`` or
            ``host=... dbname=...``. Its user owns the schema, or may create it.
        schema: name of the schema that holds the layer's tables, which the layer makes itself. Projects, or layers of
            one project, that share a database need one each.
        options: those of `ChannelLayer`.

    A process holds one connection for the calls of all its threads, another with which they receive, and one for each
    event loop.

    Raises:
        LayerConfigurationError: an option cannot work.
    """

    extensions: list[str] = [*ChannelLayer.extensions, "last_wills", REPORTS, INSPECTION]

    takes_database = True
    """In CONFIG, ``database`` may name an entry of DATABASES in place of ``dsn``; see `channels.backends`."""

    def __init__(self, dsn: str | None = None, *, schema: str = "millrace", **options: Any) -> None:
        super().__init__(**options)
        where = _place(dsn)
        self._schema = Schema(schema, where)
        self._server = Server(str(dsn), where, self._schema)
        self._calls = Calls(self._schema, self.capacity, self.expiry, self.group_expiry, self.presence)
        self._clock = ServerClock()
        self._interrupts = 0
        forget_in_children(self)
        self._begin()

    @property
    def schema(self) -> str:
        """Name of the schema that holds the tables."""
        return self._schema.name

    def _begin(self) -> None:
        self._driver = Driver(self._server)
        self._async_driver = AsyncDriver(self._server)
        self._ear = Ear(self.schema)
        self._receiver = Driver(self._server, self._ear)
        self._watch = Watch(self._ear, lambda: self._receiver.current, self._receiver.hear)
        self._keeper = Keeper(
            self._do_chores_if_due,
            self._end_unused,
            lambda: [self._ear, *self._async_driver.ears],
            min(LOOK_SECONDS, self.presence / BEATS),
        )
        self._taking = threading.Lock()
        self._counting = threading.Lock()
        self._chores = threading.Lock()
        self._counts: dict[str, list[int]] = {}
        self._counted_from = 0.0
        self._read: set[str] = set()
        self._beat_due = self._sweep_due = self._count_due = 0.0

    # -- messages --------------------------------------------------------------------------------

    def send_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """See `ChannelLayer.send_batch`; one transaction. Blocks for up to four seconds."""
        if not items:
            return []
        return self._send(self._driver, items)

    async def asend_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """See `ChannelLayer.send_batch`."""
        if not items:
            return []
        return self._sent(items, *await self._async_driver.run(lambda: self._calls.send(items)))

    def receive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """See `ChannelLayer.receive_batch`."""
        names.check_receivers(channels)
        interrupts = self._interrupts
        if timeout <= 0:
            return self._take(dict.fromkeys(channels), limit)
        return self._watch.receive(
            channels,
            lambda: self._look_if_news(channels, limit),
            timeout,
            lambda: self._interrupts != interrupts,
        )

    async def areceive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """See `ChannelLayer.receive_batch`. Waiting takes no thread."""
        names.check_receivers(channels)
        ear = self._async_driver.ear
        if timeout <= 0:
            return await self._atake(ear, dict.fromkeys(channels), limit)
        return await waking.areceive(
            partial(ear.waiting, channels), lambda: self._alook_if_news(ear, channels, limit), timeout
        )

    def begin_exchange(
        self, items: Sequence[Outgoing], channels: Sequence[str], limit: int = 1, timeout: float = 0
    ) -> Exchange:
        """See `ChannelLayer.begin_exchange`; one transaction if all the messages are for one reader."""
        names.check_receivers(channels)
        if self._is_new(channels) or self._are_chores_due():
            return super().begin_exchange(items, channels, limit, timeout)
        receive = None if timeout <= 0 else lambda: self.receive_batch(channels, limit, timeout)
        self._receiver.hear()
        fresh = dict.fromkeys(channels) if timeout <= 0 else self._ear.fresh(channels)
        if not fresh:  # by the connection that listens, as the server wakes all others that do
            return PostgresExchange(lambda: (self._send(self._receiver, items), []), receive)
        reader = only_reader(items)
        if len(fresh) > 1 or reader is None or self._calls.is_counted(reader, len(items)):
            return super().begin_exchange(items, channels, limit, timeout)
        [(channel, mark)] = fresh.items()
        return PostgresExchange(lambda: self._send_and_take(reader, items, channel, mark, limit), receive)

    def interrupt(self) -> None:
        """See `ChannelLayer.interrupt`."""
        self._interrupts += 1
        self._ear.wake_all()

    def _put_front(self, channel: str, items: Sequence[Outgoing], expires: Sequence[float | None]) -> None:
        if items:
            reader, local = names.split(channel)
            frames = [codec.frame(codec.DIRECT, local, item.body, item.headers) for item in items]
            self._driver.run(lambda: self._calls.put_front(reader, frames, expires))

    async def aoldest_age(self, channel: str) -> float | None:
        """See `ChannelLayer.aoldest_age`."""
        return await self._async_driver.run(lambda: self._calls.oldest_age(names.split(channel)[0]))

    def waited(self, deliveries: Sequence[Delivery]) -> list[float]:
        """See `ChannelLayer.waited`."""
        latest = self._clock.ms() / 1000 + self.expiry
        return [max(0.0, latest - item.expires) for item in deliveries if item.expires is not None]

    # -- groups ----------------------------------------------------------------------------------

    def group_add(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_add`."""
        self._driver.run(self._membership(self._calls.add, group, channel))

    async def agroup_add(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_add`."""
        await self._async_driver.run(self._membership(self._calls.add, group, channel))

    def group_discard(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_discard`."""
        self._driver.run(self._membership(self._calls.discard, group, channel))

    async def agroup_discard(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_discard`."""
        await self._async_driver.run(self._membership(self._calls.discard, group, channel))

    def group_channels(self, group: str) -> list[str]:
        """See `ChannelLayer.group_channels`."""
        names.check_group(group)
        return self._driver.run(lambda: self._calls.channels(group))

    async def aforget(self, channels: Iterable[str]) -> None:
        """See `ChannelLayer.aforget`."""
        gone = [names.check_channel(channel) for channel in channels]
        for channel in gone:
            self.index.forget(*names.split(channel))
        if gone:
            await self._async_driver.run(lambda: self._calls.forget(gone), whole=True)

    # -- reports and inspection ------------------------------------------------------------------

    def _put_report(self, name: str, data: bytes, seconds: float) -> None:
        self._driver.run(lambda: self._calls.put_report(name, data, seconds))

    async def _aput_report(self, name: str, data: bytes, seconds: float) -> None:
        await self._async_driver.run(lambda: self._calls.put_report(name, data, seconds))

    def _kept_reports(self) -> Rows:
        return self._driver.run(self._calls.kept_reports)

    async def _akept_reports(self) -> Rows:
        return await self._async_driver.run(self._calls.kept_reports)

    def _look(self, reader: str, limit: int, newest: bool) -> list[Look]:
        return self._driver.run(lambda: self._calls.look(reader, limit, newest))

    def _group_sizes(self, limit: int) -> GroupSizes:
        return self._driver.run(lambda: self._calls.group_sizes(limit))

    def _group_members(self, group: str, limit: int) -> GroupMembers:
        return self._driver.run(lambda: self._calls.group_members(group, limit))

    # -- the rest --------------------------------------------------------------------------------

    def flush(self) -> None:
        """See `ChannelLayer.flush`."""
        with self._counting:
            self._counts = {}
        self._driver.run(self._calls.clear, whole=True)
        self._copies.clear()

    def global_statistics(self) -> Statistics:
        """See `ChannelLayer.global_statistics`. Messages that other processes sent may be missing for a second."""
        self._write_counts()
        return self._driver.run(lambda: self._calls.statistics(None))

    def channel_statistics(self, channel: str) -> Statistics:
        """See `ChannelLayer.channel_statistics`."""
        reader = names.split(names.check_channel(channel))[0]
        self._write_counts()
        counted = self._driver.run(lambda: self._calls.statistics(reader))
        return counted | self._driver.run(lambda: self._calls.backlog(reader))

    def check(self) -> None:
        """See `ChannelLayer.check`; makes the tables if there are none."""
        self._driver.run(self._calls.disappeared)

    def close(self) -> None:
        """See `ChannelLayer.close`."""
        self._keeper.close()
        self._receiver.close()
        self._driver.close()

    async def aclose(self) -> None:
        """See `ChannelLayer.aclose`."""
        await self._async_driver.aclose()

    def drop(self) -> None:
        """Remove the schema and all that lies in it, for good; the next call of any process makes it anew.

        Raises:
            LayerUnavailable, LayerUnusable
        """
        self._driver.run(self._schema.drop)
        self._receiver.close()
        self._driver.close()

    def cut(self) -> int:
        """End the connections of other processes to the schema, as a server does that is shut down.

        Returns:
            How many there were.
        """
        return self._driver.run(self._schema.cut)

    def describe(self) -> str:
        """See `ChannelLayer.describe`."""
        return f"PostgreSQL at {self._server.where}, schema {self.schema}"

    def forget(self) -> None:
        """Begin anew in a process that was forked: what the parent reads, and its members there, are the parent's."""
        self._driver.forget()
        self._async_driver.forget()
        self._receiver.forget()
        self.index = MembershipIndex()
        self._begin()

    # -- inside ----------------------------------------------------------------------------------

    def _membership(self, call: Callable[[str, str], Plan[None]], group: str, channel: str) -> Callable[[], Plan[None]]:
        names.check_group(group)
        names.check_channel(channel)
        return partial(call, group, channel)

    def _send(self, driver: Driver, items: Sequence[Outgoing]) -> list[Outgoing]:
        return self._sent(items, *driver.run(lambda: self._calls.send(items)))

    def _sent(self, items: Sequence[Outgoing], refused: list[Outgoing], group_full: int, now: float) -> list[Outgoing]:
        self._clock.learn(now * 1000)
        self.counters.group_full += group_full
        with self._counting:
            if not self._counts:
                self._counted_from = now
            for item in items:
                if not item.group and item.body:
                    self._counts.setdefault(names.family(names.split(item.target)[0]), [0, 0])[0] += 1
            for item in refused:
                counts = self._counts.setdefault(names.family(names.split(item.target)[0]), [0, 0])
                counts[0] -= 1
                counts[1] += 1
        return refused

    def _take(self, fresh: dict[str, Mark], limit: int) -> list[Delivery]:
        """Take messages from one of some channels that has any, without waiting."""
        self._beat_if_new(fresh)
        self._do_chores_if_due()
        taking = Taking(self._calls, self._ear, fresh, limit)
        while not taking.is_over:
            # The lock keeps two threads from opening what they took in another order.
            with self._taking:
                try:
                    rows = self._receiver.run(taking.plan)
                except LayerUnavailable as error:
                    self.counters.possible_losses += error.uncertain
                    raise
                deliveries = self._opened(taking.channel, rows)
            if deliveries:
                return deliveries
        return []

    async def _atake(self, ear: Ear, fresh: dict[str, Mark], limit: int) -> list[Delivery]:
        if self._is_new(fresh) or self._are_chores_due():
            await asyncio.to_thread(self._beat_if_new, fresh)
            await asyncio.to_thread(self._do_chores_if_due)
        taking = Taking(self._calls, ear, fresh, limit)
        while not taking.is_over:
            try:
                rows = await self._async_driver.run(taking.plan)
            except LayerUnavailable as error:
                self.counters.possible_losses += error.uncertain
                raise
            deliveries = self._opened(taking.channel, rows)
            if deliveries:
                return deliveries
        return []

    def _send_and_take(
        self, reader: str, items: Sequence[Outgoing], channel: str, mark: Mark, limit: int
    ) -> tuple[list[Outgoing], list[Delivery]]:
        with self._taking:
            try:
                now, rows = self._receiver.run(
                    lambda: self._calls.store_and_take(reader, items, channel, max(limit, 1))
                )
            except LayerUnavailable as error:
                self.counters.possible_losses += error.uncertain
                raise
            deliveries = self._opened(channel, rows)
        if len(rows) < limit:
            self._ear.note(channel, mark)
        return self._sent(items, [], 0, now), deliveries

    def _look_if_news(self, channels: Sequence[str], limit: int) -> list[Delivery]:
        """Take messages, unless nothing has come since the channels were found empty."""
        self._keeper.start()
        self._receiver.listen(self._ear, channels)
        fresh = self._ear.fresh(channels)
        return self._take(fresh, limit) if fresh else []

    async def _alook_if_news(self, ear: Ear, channels: Sequence[str], limit: int) -> list[Delivery]:
        """Async form of `_look_if_news`."""
        self._keeper.start()
        await self._async_driver.listen(channels)
        fresh = ear.fresh(channels)
        return await self._atake(ear, fresh, limit) if fresh else []

    def _opened(self, channel: str, rows: Rows) -> list[Delivery]:
        if not rows:
            return []
        self._clock.learn(rows[0][4] * 1000)
        self.counters.expired += sum(1 for _, _, control, data, _ in rows if data is None and not control)
        return self.open_frames(channel, [(data, until) for _, until, _, data, _ in rows if data is not None])

    # -- chores ----------------------------------------------------------------------------------

    def _is_new(self, channels: Iterable[str]) -> bool:
        return any(name[-1] == "!" and name not in self._read for name in channels)

    def _beat_if_new(self, channels: Iterable[str]) -> None:
        new = [name for name in channels if name[-1] == "!" and name not in self._read]
        if new:
            self._beat(new)
            self._read = self._read | set(new)

    def _beat(self, readers: Sequence[str]) -> None:
        """Say that these channels are read here, and put back what is lost or what others took for abandoned."""
        for reader in self._driver.run(lambda: self._calls.beat(readers)):
            carried_out = self._driver.run(
                partial(self._calls.restore, reader, list(self.index.memberships(reader))), whole=True
            )
            self._tell_of_last_wills(reader, carried_out)

    def _are_chores_due(self) -> bool:
        return time.monotonic() >= min(self._beat_due, self._sweep_due, self._count_due)

    def _do_chores_if_due(self) -> bool:
        """Do what is due, if anything is and nobody else does; returns whether the database was there for it."""
        if not self._are_chores_due() or not self._chores.acquire(blocking=False):
            return False
        try:
            now = time.monotonic()
            was_there = False
            if now >= self._count_due:
                self._count_due = now + COUNT_SECONDS
                was_there = self._write_counts()
            if now >= self._beat_due:
                self._beat_due = now + self.presence / BEATS
                if self._read:
                    self._beat(list(self._read))
                self._carry_out_last_wills()
                was_there = True
            if now >= self._sweep_due:
                self._sweep_due = now + SWEEP_SECONDS
                expired = self._driver.run(self._calls.sweep)
                if expired is not None:
                    self.counters.expired += expired
                    # It may take seconds, for which nobody should wait.
                    threading.Thread(target=self._vacuum, name="channel-layer-vacuum", daemon=True).start()
                was_there = True
            return was_there
        finally:
            self._chores.release()

    def _vacuum(self) -> None:
        driver = Driver(self._server)
        try:
            driver.run(self._calls.vacuum)
        except LayerUnavailable as error:
            _log.debug("The tables were not vacuumed: %s", error)
        finally:
            driver.close()

    def _end_unused(self) -> bool:
        """Have connections listen no more for whom nobody waits; returns whether any listen then."""
        ear = self._ear
        if ear.is_listening and not ear.is_waited_at and time.monotonic() - ear.unused_since >= LINGER:
            self._receiver.run(ear.stop_listening)
        are_others = self._async_driver.end_unused(LINGER, DEAF_SECONDS)
        return are_others or ear.is_listening

    def _carry_out_last_wills(self) -> None:
        """Send what processes have left that have disappeared."""
        for reader in self._driver.run(self._calls.disappeared):
            while self._driver.run(partial(self._calls.carry_out, reader)):
                pass

    def _write_counts(self) -> bool:
        """Add what was sent since the last time to the statistics; returns whether that was anything."""
        with self._counting:
            begun, counts, self._counts = self._counted_from, self._counts, {}
        if counts:
            self._driver.run(lambda: self._calls.count(begun, counts))
        return bool(counts)


def _place(dsn: object) -> str:
    """Host, port and name of a database, without user and password."""
    if not isinstance(dsn, str) or not dsn:
        raise LayerConfigurationError(
            "the postgres layer needs dsn, for example postgresql://user:password@localhost/name, or in the settings "
            "of Django database: the name of an entry of DATABASES"
        )
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # The library's text may hold a part of the password.
        raise LayerConfigurationError(
            "dsn is not a PostgreSQL address. Write it as postgresql://user:password@host:port/name, with %XX for "
            "special characters in the password, or as host=... dbname=..."
        ) from None
    host = given.get("host") or given.get("hostaddr") or given.get("service") or "the local socket"
    port = f":{given['port']}" if given.get("port") else ""
    return f"{host}{port}/{given.get('dbname') or given.get('user') or ''}"
