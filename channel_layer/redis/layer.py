"""The production layer: Redis 7 or later, or Valkey."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from .. import names
from ..cipher import Sealer
from ..delivery import Delivery, Outgoing
from ..exceptions import LayerUnavailable
from ..exchange import Exchange
from ..inspection import INSPECTION, GroupMembers, GroupSizes, Look
from ..layer import ChannelLayer, Statistics
from ..reports import REPORTS
from . import permissions
from .async_driver import AsyncDriver
from .errors import raise_replies
from .exchange import RedisExchange
from .hosts import OPERATION_SECONDS
from .inspection import Inspection
from .keys import Keys
from .last_will_calls import LastWillCalls
from .last_wills import LastWillSchedule
from .plan import Planner
from .poller import Poller, Pollers
from .pops import More, Pops
from .presence import Presence
from .report_calls import ReportCalls
from .scripts import Call, Reply, plain
from .send_plan import SendPlan
from .sending import Sending
from .sentinel_host import SentinelHost
from .servers import parse_hosts
from .signs import Signs
from .steps import awalk, together, walk
from .storage import Storage
from .sync_driver import SyncDriver

logger = logging.getLogger(__name__)

BATCH = 500
"""Calls in one pipeline where there may be many."""


class RedisChannelLayer(ChannelLayer):
    """Channels as Redis lists; see `channel_layer.redis.keys`.

    Args:
        hosts: servers, each a URL, a ``(host, port)`` pair or a dict of redis-py arguments. Channels
            are spread over several by consistent hashing; all processes need the same list. A dict with ``sentinels``
            and ``master_name`` stands for the primary of a service that Redis Sentinel watches.
        prefix: in front of every key, so that projects can share a server.
        connection_kwargs: more arguments for redis-py's connections.
        services: names of services that Redis Sentinel watches. With them ``hosts`` are Sentinels, and channels are
            spread over the services.
        sentinel_kwargs: more arguments for redis-py's connections to Sentinels.
        symmetric_encryption_keys: secrets, text or bytes, to encrypt messages with; the first encrypts,
            all decrypt. Needs the package ``cryptography``. Names stay readable; see `channel_layer.cipher`.
        options: those of `ChannelLayer`.

    No call is repeated by this layer: connections are opened anew after an error, but a send or a
    receive whose answer was lost raises `LayerUnavailable` and is counted in ``possible_losses``.
    Times are the server's, so clocks of the machines around it do not matter.
    """

    extensions: list[str] = [*ChannelLayer.extensions, "last_wills", REPORTS, INSPECTION]

    def __init__(
        self,
        *,
        hosts: Any = None,
        prefix: str = "asgi:",
        connection_kwargs: Mapping[str, Any] | None = None,
        services: Any = None,
        sentinel_kwargs: Mapping[str, Any] | None = None,
        symmetric_encryption_keys: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._hosts = parse_hosts(hosts, connection_kwargs, services, sentinel_kwargs, Keys(prefix).fence)
        self.prefix = prefix
        secrets = symmetric_encryption_keys
        # Only what says so means "no encryption": an empty text is a secret that got lost on its way.
        self._sealer = None if secrets in (None, [], ()) else Sealer(secrets, prefix, self.max_frame_size)
        identities = [host.name for host in self._hosts]
        self._storage = storage = Storage(
            identities, prefix, self.expiry, self.group_expiry, self.capacity, self._sealer, self.presence
        )
        calls = LastWillCalls(storage)
        self._plan = Planner(storage, calls)
        self._report_calls = ReportCalls(storage)
        self._inspection = Inspection(storage, self._run_all)
        self._presence = Presence(self._plan, self.index, self.presence)
        self._last_wills = LastWillSchedule(self._plan, calls, self._presence, self.presence, self._tell_of_last_wills)
        self._sync = SyncDriver(self._hosts)
        self._async = AsyncDriver(self._hosts, self._sync)
        self._pollers = Pollers(self._sync)
        self._signs = Signs(self._last_wills, self._async)
        self._pops = Pops(self, self._hosts, self._plan, self._presence, self._last_wills, self._sealer)
        for shard, host in enumerate(self._hosts):
            if isinstance(host, SentinelHost):
                host.on_new_primary = partial(self._last_wills.expect_losses, shard)

    # -- sending ---------------------------------------------------------------------------------

    def send_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """See `ChannelLayer.send_batch`; one round trip, at most 4 s.

        Several servers are written to before the answer of any is awaited; one that is away leaves the others theirs.
        """
        plan = self._plan.send(items)
        sending = Sending(plan, self.counters, self._hosts)
        if len(plan.calls) == 1:
            for shard, calls in plan.calls.items():
                with sending.to(shard):
                    sending.answered(shard, self._sync.run(shard, calls))
        else:
            self._send_to_several(plan, sending)
        if plan.last_will_homes:
            walk(self._last_wills.left(plan.last_will_homes, sending.stored(plan.last_wills_elsewhere)), self._sync.run)
        return sending.finish()

    def _send_to_several(self, plan: SendPlan, sending: Sending) -> None:
        begun = []
        try:
            for shard, calls in plan.calls.items():
                with sending.to(shard):
                    begun.append((shard, self._sync.begin_behind(shard, (), calls)))
            while begun:
                shard, connection = begun.pop()
                with sending.to(shard):
                    sending.answered(shard, self._sync.last_replies(connection))
        finally:
            for _, connection in begun:  # the next answer would be taken for another's
                self._sync.abandon(connection)

    async def asend_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """See `ChannelLayer.send_batch`; to several servers at the same time."""
        plan = self._plan.send(items)
        sending = Sending(plan, self.counters, self._hosts)

        async def send_to(shard: int, calls: Sequence[Call]) -> None:
            with sending.to(shard):
                sending.answered(shard, await self._async.run(shard, calls))

        sends = [send_to(shard, calls) for shard, calls in plan.calls.items()]
        await (sends[0] if len(sends) == 1 else together(sends))
        if plan.last_will_homes:
            await awalk(
                self._last_wills.left(plan.last_will_homes, sending.stored(plan.last_wills_elsewhere)), self._async.run
            )
        return sending.finish()

    def _put_front(self, channel: str, items: Sequence[Outgoing], expires: Sequence[float | None]) -> None:
        shard, call = self._plan.put_front(channel, items, expires)
        self._run_all(shard, [call])

    async def aoldest_age(self, channel: str) -> float | None:
        """See `ChannelLayer.aoldest_age`."""
        reader = names.split(channel)[0]
        oldest, now = await self._arun_all(self._storage.host_of(reader), self._plan.oldest(reader))
        return self._plan.age(oldest, now)

    def waited(self, deliveries: Sequence[Delivery]) -> list[float]:
        """See `ChannelLayer.waited`."""
        if not deliveries:
            return []
        shard = 0 if len(self._hosts) == 1 else self._storage.host_of(names.split(deliveries[0].channel)[0])
        latest = self._plan.clocks[shard].ms() + self._storage.expiry_ms
        return [
            (latest - end) / 1000 if end < latest else 0.0 for item in deliveries if (end := item.expires) is not None
        ]

    # -- receiving -------------------------------------------------------------------------------

    def receive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """See `ChannelLayer.receive_batch`."""
        names.check_receivers(channels)
        shards = self._plan.by_shard(channels)
        pop = self._pop if len(shards) == 1 else self._pop_several
        deadline = time.monotonic() + timeout
        while shards:
            if self._last_wills.has_signs_due(channels):
                walk(self._last_wills.give_signs(channels), self._sync.run)
            deliveries, more = pop(shards, limit, self._pops.block_until(deadline))
            if deliveries or more is More.NEVER or (more is More.LATER and time.monotonic() >= deadline):
                return deliveries
        return []

    async def areceive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """See `ChannelLayer.receive_batch`.

        With channels on several servers it asks them in turn, each for a tenth of a second, so a
        message may wait that long for every other server.
        """
        names.check_receivers(channels)
        shards = list(self._plan.by_shard(channels).items())
        deadline = time.monotonic() + timeout
        while shards:
            if self._last_wills.has_signs_due(channels):
                await self._signs.give(channels)
            random.shuffle(shards)
            failures = []
            for shard, here in shards:
                block = self._pops.block_until(deadline)
                try:
                    deliveries, more = await self._apop(shard, here, limit, min(block, 0.1) if shards[1:] else block)
                except LayerUnavailable as error:
                    failures.append(error)
                    if len(failures) == len(shards):
                        raise
                    continue
                if deliveries or (more is not More.NOW and time.monotonic() >= deadline):
                    return deliveries
        return []

    async def _apop(self, shard: int, here: list[str], limit: int, block: float) -> tuple[list[Delivery], More]:
        with self._pops.guarded(here):
            replies = await self._async.run(shard, self._pops.calls(shard, here, limit, block), blocks=True)
            deliveries, more, lost = self._pops.read(shard, here, replies)
        for reader in lost:
            await awalk(self._last_wills.come_back(reader, shard), self._async.run)
        return deliveries, more

    def begin_exchange(
        self, items: Sequence[Outgoing], channels: Sequence[str], limit: int = 1, timeout: float = 0
    ) -> Exchange:
        """See `ChannelLayer.begin_exchange`; with one server it is one round trip."""
        if len(self._hosts) > 1 or not channels:
            return super().begin_exchange(items, channels, limit, timeout)
        names.check_receivers(channels)
        here = list(channels)
        deadline = time.monotonic() + timeout
        plan = self._plan.send(items)

        def receive(replies: Callable[[], list[Reply]]) -> list[Delivery]:
            with self._pops.guarded(here):
                pops = replies()
            deliveries, more = self._received(0, here, pops)
            left = deadline - time.monotonic()
            if deliveries or more is More.NEVER or (more is More.LATER and left <= 0):
                return deliveries
            return self.receive_batch(here, limit, max(0.0, left))

        pops = self._pops.calls(0, here, limit, self._pops.block_until(deadline))
        sending = Sending(plan, self.counters, self._hosts)
        return RedisExchange(self._sync, 0, plan.calls[0], sending, pops, receive)

    def interrupt(self) -> None:
        """See `ChannelLayer.interrupt`."""
        self._sync.unblock()

    def beside_others(self) -> None:
        """See `ChannelLayer.beside_others`."""
        for host in self._hosts:
            host.outage.matters = True

    def _pop(self, shards: dict[int, list[str]], limit: int, block: float) -> tuple[list[Delivery], More]:
        """Take from the one server that has all the channels."""
        ((shard, here),) = shards.items()
        if len(self._hosts) > 1:
            self._end_polls(besides=tuple(sorted(here)))
        calls = self._pops.calls(shard, here, limit, block)
        with self._pops.guarded(here):
            replies = self._sync.run_blocking(shard, calls) if block else self._sync.run(shard, calls)
        return self._received(shard, here, replies)

    def _pop_several(self, shards: dict[int, list[str]], limit: int, block: float) -> tuple[list[Delivery], More]:
        """Wait on several servers at once; see `Poller`."""
        purpose = tuple(sorted(name for here in shards.values() for name in here))
        self._end_polls(besides=purpose)
        poller = self._pollers.borrow(purpose)
        try:
            begun = poller.start(
                shards, lambda shard: self._pops.calls(shard, shards[shard], limit, block, alone=False)
            )
            give_up = time.monotonic() + (block or OPERATION_SECONDS)
            while True:
                # A pop that does not block is answered at once; one of an earlier call may take long.
                shard = poller.wait(give_up - time.monotonic() if block or begun else 0)
                if shard is None:
                    return [], More.LATER
                begun.discard(shard)
                try:
                    deliveries, more = self._finish_pop(poller, shard, shards[shard])
                except LayerUnavailable:
                    if not poller.waiting:
                        raise
                    continue
                if deliveries or block or more is More.NEVER:
                    return deliveries, more
        finally:
            self._pollers.give_back(purpose, poller)

    def _finish_pop(self, poller: Poller, shard: int, channels: list[str]) -> tuple[list[Delivery], More]:
        with self._pops.guarded(channels):
            replies = poller.finish(shard)
        return self._received(shard, channels, replies)

    def _end_polls(self, besides: tuple[str, ...] = ()) -> None:
        """End pops that wait for a receive which does not come, and put back what they took.

        Those for the channels ``besides`` go on, and those that have none of these channels.
        """
        abandoned = self._pollers.take(besides)
        if abandoned:
            self.interrupt()
        for channels, poller in abandoned:
            shards = self._plan.by_shard(channels)
            for shard in poller.waiting:
                try:
                    deliveries, _ = self._finish_pop(poller, shard, shards[shard])
                    if deliveries:
                        self.put_back(deliveries[0].channel, deliveries)
                except LayerUnavailable as error:
                    logger.warning("messages may be lost at the end of a receive: %s", error)

    def _received(self, shard: int, channels: list[str], replies: list[Reply]) -> tuple[list[Delivery], More]:
        deliveries, more, lost = self._pops.read(shard, channels, replies)
        for reader in lost:
            walk(self._last_wills.come_back(reader, shard), self._sync.run)
        return deliveries, more

    # -- groups ----------------------------------------------------------------------------------

    def group_add(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_add`."""
        shard, reader, local = self._member(group, channel)
        self._run_all(shard, [self._plan.join(group, reader, local)])

    async def agroup_add(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_add`."""
        shard, reader, local = self._member(group, channel)
        await self._arun_all(shard, [self._plan.join(group, reader, local)])

    def group_discard(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_discard`."""
        shard, reader, local = self._member(group, channel)
        self._run_all(shard, [self._plan.leave(group, reader, local)])

    async def agroup_discard(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_discard`."""
        shard, reader, local = self._member(group, channel)
        await self._arun_all(shard, [self._plan.leave(group, reader, local)])

    def group_channels(self, group: str) -> list[str]:
        """See `ChannelLayer.group_channels`."""
        calls = [self._plan.group_channels(names.check_group(group))]
        return [name.decode() for shard in self._storage.shards for name in self._run_all(shard, calls)[0]]

    async def aforget(self, channels: Iterable[str]) -> None:
        """See `ChannelLayer.aforget`."""
        calls: dict[int, list[Call]] = {}
        for channel in channels:
            reader, local = names.split(channel)
            for group in self.index.forget(reader, local):
                call = self._plan.leave(group, reader, local, tell=False)
                calls.setdefault(self._storage.host_of(reader), []).append(call)
        await together(self._arun_all(shard, batch) for shard, batch in calls.items())

    def _member(self, group: str, channel: str) -> tuple[int, str, str]:
        names.check_group(group)
        reader, local = names.split(names.check_channel(channel))
        return self._storage.host_of(reader), reader, local

    # -- reports ---------------------------------------------------------------------------------

    def _put_report(self, name: str, data: bytes, seconds: float) -> None:
        shard, call = self._report_calls.put(name, data, seconds)
        self._run_all(shard, [call])

    async def _aput_report(self, name: str, data: bytes, seconds: float) -> None:
        shard, call = self._report_calls.put(name, data, seconds)
        await self._arun_all(shard, [call])

    def _kept_reports(self) -> list[tuple[str, bytes | None, float]]:
        kept: list[tuple[str, bytes | None, float]] = []
        failures = []
        for shard in self._storage.shards:
            try:
                kept += self._report_calls.fetched(*self._run_all(shard, self._report_calls.fetch()))
            except LayerUnavailable as error:
                failures.append(error)
        if len(failures) == len(self._hosts):
            raise failures[0]
        return kept

    async def _akept_reports(self) -> list[tuple[str, bytes | None, float]]:
        kept: list[tuple[str, bytes | None, float]] = []
        failures = []
        for shard in self._storage.shards:
            try:
                kept += self._report_calls.fetched(*await self._arun_all(shard, self._report_calls.fetch()))
            except LayerUnavailable as error:
                failures.append(error)
        if len(failures) == len(self._hosts):
            raise failures[0]
        return kept

    # -- inspection ------------------------------------------------------------------------------

    def _look(self, reader: str, limit: int, newest: bool) -> list[Look]:
        return self._inspection.look(reader, limit, newest)

    def _group_sizes(self, limit: int) -> GroupSizes:
        return self._inspection.group_sizes(limit)

    def _group_members(self, group: str, limit: int) -> GroupMembers:
        return self._inspection.group_members(group, limit)

    # -- the rest --------------------------------------------------------------------------------

    def flush(self) -> None:
        """See `ChannelLayer.flush`; removes the keys under the layer's prefix.

        Processes that are alive are told to forget the members they know of: to them the loss would
        look like one to make good.
        """
        for shard in self._storage.shards:
            farewell: list[Call] = []
            cursor = b"0"
            while True:
                ((cursor, keys),) = self._run_all(shard, [self._plan.scan(cursor)])
                for group, reader in self._storage.keys.memberships(keys):
                    (members,) = self._run_all(shard, [self._plan.members(group, reader)])
                    farewell += [self._plan.leave(group, reader, member.decode()) for member in members]
                if keys:
                    self._run_all(shard, [plain("UNLINK", *keys)])
                if int(cursor) == 0:
                    break
            for at in range(0, len(farewell), BATCH):
                self._run_all(shard, farewell[at : at + BATCH])
        self._copies.clear()

    def global_statistics(self) -> Statistics:
        """See `ChannelLayer.global_statistics`."""
        parts = [self._run_all(shard, self._plan.statistics(None)) for shard in self._storage.shards]
        counts = [self._plan.counts(*part) for part in parts]
        return {key: sum(count[key] for count in counts) for key in counts[0]}

    def channel_statistics(self, channel: str) -> Statistics:
        """See `ChannelLayer.channel_statistics`."""
        reader = names.split(names.check_channel(channel))[0]
        counts, now, pending, oldest = self._run_all(self._storage.host_of(reader), self._plan.statistics(reader))
        waiting = {"messages_pending": pending, "messages_max_age": self._plan.age(oldest, now)}
        return self._plan.counts(counts, now) | waiting

    def check(self) -> None:
        """See `ChannelLayer.check`."""
        permissions.check_all([host.name for host in self._hosts], self.prefix, self._run_all)

    def close(self) -> None:
        """See `ChannelLayer.close`."""
        try:
            self._end_polls()
        except LayerUnavailable as error:
            logger.warning("messages may be lost at the end: %s", error)
        self._async.end_threads()
        self._sync.close()
        for host in self._hosts:
            host.close()

    async def aclose(self) -> None:
        """See `ChannelLayer.aclose`."""
        await self._signs.close()
        await self._async.close()

    def describe(self) -> str:
        """See `ChannelLayer.describe`."""
        return ", ".join(host.name for host in self._hosts)

    # -- helpers ---------------------------------------------------------------------------------

    def _run_all(self, shard: int, calls: Sequence[Call]) -> list[Reply]:
        replies = self._sync.run(shard, calls)
        raise_replies(replies, self._hosts[shard].name)
        return replies

    async def _arun_all(self, shard: int, calls: Sequence[Call]) -> list[Reply]:
        replies = await self._async.run(shard, calls)
        raise_replies(replies, self._hosts[shard].name)
        return replies
