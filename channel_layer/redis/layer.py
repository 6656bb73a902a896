"""The production layer: Redis 7 or later, or Valkey."""

from __future__ import annotations

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
from .hosts import Host
from .inspection import Inspection
from .keys import Keys
from .last_will_calls import LastWillCalls
from .last_wills import LastWillSchedule
from .moving_host import MovingHost
from .plan import Planner
from .pops import More, Pops
from .presence import Presence
from .receiving import Receiving
from .report_calls import ReportCalls
from .scripts import Call, Reply, plain
from .send_plan import SendPlan
from .sending import Sending
from .servers import parse_hosts
from .steps import awalk, together, walk
from .storage import Storage
from .sync_driver import SyncDriver

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
        found = parse_hosts(hosts, connection_kwargs, services, sentinel_kwargs, Keys(prefix).fence)
        self._set_up(found, [host.name for host in found], prefix, [prefix] * len(found), symmetric_encryption_keys)

    def _set_up(
        self, hosts: Sequence[Host], identities: list[str], prefix: str, prefixes: Sequence[str], secrets: Any
    ) -> None:
        """Make the parts of the layer.

        Args:
            hosts: the servers.
            identities: what the hash ring knows them by.
            prefix: of the layer.
            prefixes: of the keys on each server; they begin with the former.
            secrets: see ``symmetric_encryption_keys``.
        """
        self._hosts = hosts
        self.prefix = prefix
        # Only what says so means "no encryption": an empty text is a secret that got lost on its way.
        self._sealer = None if secrets in (None, [], ()) else Sealer(secrets, prefix, self.max_frame_size)
        self._storage = storage = Storage(
            identities, prefixes, self.expiry, self.group_expiry, self.capacity, self._sealer, self.presence
        )
        calls = LastWillCalls(storage)
        self._plan = Planner(storage, calls)
        self._report_calls = ReportCalls(storage)
        self._inspection = Inspection(storage, self._run_all)
        self._presence = Presence(self._plan, self.index, self.presence)
        self._last_wills = LastWillSchedule(self._plan, calls, self._presence, self.presence, self._tell_of_last_wills)
        self._sync = SyncDriver(self._hosts)
        self._async = AsyncDriver(self._hosts, self._sync)
        self._pops = Pops(self, self._hosts, self._plan, self._presence, self._last_wills, self._sealer)
        self._receiving = Receiving(self._pops, self._plan, self._last_wills, self._sync, self._async, self.prepare)
        for shard, host in enumerate(self._hosts):
            if isinstance(host, MovingHost):
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
                try:
                    sending.answered(shard, self._sync.run(shard, calls))
                except LayerUnavailable as error:
                    sending.failed(shard, error)
        else:
            self._send_to_several(plan, sending)
        if plan.last_will_homes:
            walk(self._last_wills.left(plan.last_will_homes, sending.stored(plan.last_wills_elsewhere)), self._sync.run)
        if sending.is_to_be_passed_on:
            walk(sending.pass_on(self._plan), self._sync.run)
        return sending.finish()

    def _send_to_several(self, plan: SendPlan, sending: Sending) -> None:
        begun = []
        try:
            for shard, calls in plan.calls.items():
                try:
                    begun.append((shard, self._sync.begin_behind(shard, (), calls)))
                except LayerUnavailable as error:
                    sending.failed(shard, error)
            while begun:
                shard, connection = begun.pop()
                try:
                    sending.answered(shard, self._sync.last_replies(connection))
                except LayerUnavailable as error:
                    sending.failed(shard, error)
        finally:
            for _, connection in begun:  # the next answer would be taken for another's
                self._sync.abandon(connection)

    async def asend_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """See `ChannelLayer.send_batch`; to several servers at the same time."""
        plan = self._plan.send(items)
        sending = Sending(plan, self.counters, self._hosts)

        sends = [self._asend_to(shard, calls, sending) for shard, calls in plan.calls.items()]
        await (sends[0] if len(sends) == 1 else together(sends))
        if plan.last_will_homes:
            await awalk(
                self._last_wills.left(plan.last_will_homes, sending.stored(plan.last_wills_elsewhere)), self._async.run
            )
        if sending.is_to_be_passed_on:
            await awalk(sending.pass_on(self._plan), self._async.run)
        return sending.finish()

    async def _asend_to(self, shard: int, calls: Sequence[Call], sending: Sending) -> None:
        try:
            sending.answered(shard, await self._async.run(shard, calls))
        except LayerUnavailable as error:
            sending.failed(shard, error)

    def _put_front(self, channel: str, items: Sequence[Outgoing], expires: Sequence[float | None]) -> None:
        reader, local = names.split(channel)
        entries = [(local, item, until) for item, until in zip(items, expires, strict=True)]
        shard = self._storage.host_of(reader)
        self._run_all(shard, [self._plan.put_front(shard, reader, entries)])

    async def aoldest_age(self, channel: str) -> float | None:
        """See `ChannelLayer.aoldest_age`."""
        reader = names.split(channel)[0]
        ages = []
        for shard in self._storage.receiving([reader]):
            oldest, now = await self._arun_all(shard, self._plan.oldest(shard, reader))
            ages.append(self._plan.age(oldest, now))
        return max(ages)

    def waited(self, deliveries: Sequence[Delivery]) -> list[float]:
        """See `ChannelLayer.waited`."""
        if not deliveries:
            return []
        latest = self._plan.clocks[deliveries[0].server].ms() + self._storage.expiry_ms
        return [
            (latest - end) / 1000 if end < latest else 0.0 for item in deliveries if (end := item.expires) is not None
        ]

    # -- receiving -------------------------------------------------------------------------------

    def receive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """See `ChannelLayer.receive_batch`; with channels on several servers it waits on all of them at once."""
        names.check_receivers(channels)
        return self._receiving.receive(channels, limit, timeout)

    async def areceive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """See `ChannelLayer.receive_batch`; with channels on several servers it waits on all of them at once.

        What arrives on the others meanwhile is for the next receive on the same channels in this event loop.
        `astop_receiving`, `aclose` and the end of the loop put it back.
        """
        names.check_receivers(channels)
        return await self._receiving.areceive(channels, limit, timeout)

    async def astop_receiving(self, channels: Sequence[str]) -> None:
        """See `ChannelLayer.astop_receiving`."""
        await self._receiving.aend(channels)

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
            try:
                pops = replies()
            except LayerUnavailable as error:
                self._pops.failed(0, here, error)
                raise
            deliveries, more = self._receiving.received(0, here, pops)
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

    # -- groups ----------------------------------------------------------------------------------

    def group_add(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_add`."""
        reader, local = self._member(group, channel)
        self._run_all(self._storage.host_of(group), [self._plan.join(group, reader, local)])

    async def agroup_add(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_add`."""
        reader, local = self._member(group, channel)
        await self._arun_all(self._storage.host_of(group), [self._plan.join(group, reader, local)])

    def group_discard(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_discard`."""
        reader, local = self._member(group, channel)
        self._run_all(self._storage.host_of(group), [self._plan.leave(group, reader, local)])

    async def agroup_discard(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_discard`."""
        reader, local = self._member(group, channel)
        await self._arun_all(self._storage.host_of(group), [self._plan.leave(group, reader, local)])

    def group_channels(self, group: str) -> list[str]:
        """See `ChannelLayer.group_channels`."""
        shard = self._storage.host_of(names.check_group(group))
        [found] = self._run_all(shard, [self._plan.group_channels(group)])
        return [name.decode() for name in found]

    async def aforget(self, channels: Iterable[str]) -> None:
        """See `ChannelLayer.aforget`."""
        calls: dict[int, list[Call]] = {}
        for channel in channels:
            reader, local = names.split(channel)
            for group in self.index.forget(reader, local):
                call = self._plan.leave(group, reader, local, tell=False)
                calls.setdefault(self._storage.host_of(group), []).append(call)
        await together(self._arun_all(shard, batch) for shard, batch in calls.items())

    def _member(self, group: str, channel: str) -> tuple[str, str]:
        names.check_group(group)
        return names.split(names.check_channel(channel))

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
                kept += self._report_calls.fetched(*self._run_all(shard, self._report_calls.fetch(shard)))
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
                kept += self._report_calls.fetched(*await self._arun_all(shard, self._report_calls.fetch(shard)))
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
                ((cursor, keys),) = self._run_all(shard, [self._plan.scan(shard, cursor)])
                for group, reader in self._storage.keys[shard].memberships(keys):
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
        parts = [self._run_all(shard, self._plan.statistics(shard, None)) for shard in self._storage.shards]
        return _sum([self._plan.counts(*part) for part in parts])

    def channel_statistics(self, channel: str) -> Statistics:
        """See `ChannelLayer.channel_statistics`."""
        reader = names.split(names.check_channel(channel))[0]
        parts = [
            self._run_all(shard, self._plan.statistics(shard, reader)) for shard in self._storage.receiving([reader])
        ]
        total = _sum([self._plan.counts(counts, now) for counts, now, _, _ in parts])
        total["messages_pending"] = sum(pending for _, _, pending, _ in parts)
        total["messages_max_age"] = max(self._plan.age(oldest, now) for _, now, _, oldest in parts)
        return total

    def check(self) -> None:
        """See `ChannelLayer.check`."""
        permissions.check_all([host.name for host in self._hosts], self.prefix, self._run_all)

    def close(self) -> None:
        """See `ChannelLayer.close`."""
        self._receiving.end()
        self._async.end_threads()
        self._sync.close()
        for host in self._hosts:
            host.close()

    async def aclose(self) -> None:
        """See `ChannelLayer.aclose`."""
        await self._receiving.aend()
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


def _sum(counts: Sequence[Statistics]) -> Statistics:
    """Statistics of several servers together."""
    return {key: sum(count[key] for count in counts) for key in counts[0]}
