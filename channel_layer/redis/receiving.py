"""Receiving from one server, or from several at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from .. import names
from ..delivery import Delivery, Outgoing
from ..exceptions import LayerConfigurationError, LayerUnavailable
from .async_driver import AsyncDriver
from .async_poller import AsyncPoller, AsyncPollers
from .errors import raise_replies
from .hosts import OPERATION_SECONDS
from .last_wills import LastWillSchedule
from .plan import Planner
from .poller import Poller, Pollers, Refusals
from .pops import More, Pops
from .scripts import Call, Reply
from .steps import awalk, together, walk
from .sync_driver import SyncDriver

logger = logging.getLogger(__name__)


class Receiving:
    """Receives for one layer.

    A process-specific name is received from every server, and it counts as unavailable if its own server is, from which
    the messages to single channels come. A server that is away is left out as long as another is the own one of a
    channel.

    Args:
        pops, plan, last_wills: of the layer.
        sync, async_: the drivers.
        prepare: `ChannelLayer.prepare`, for messages that are put back.
    """

    def __init__(
        self,
        pops: Pops,
        plan: Planner,
        last_wills: LastWillSchedule,
        sync: SyncDriver,
        async_: AsyncDriver,
        prepare: Callable[..., Outgoing],
    ) -> None:
        self._pops = pops
        self._plan = plan
        self._last_wills = last_wills
        self._sync = sync
        self._async = async_
        self._prepare = prepare
        self._storage = plan.storage
        self._hosts = sync.hosts
        self._pollers = Pollers(sync)
        self._refusals = Refusals()
        self._async_pollers = AsyncPollers()

    # -- threads ---------------------------------------------------------------------------------

    def receive(self, channels: Sequence[str], limit: int, timeout: float) -> list[Delivery]:
        """See `ChannelLayer.receive_batch`."""
        shards = self._storage.receiving(channels)
        several = len(self._hosts) > 1
        deadline = time.monotonic() + timeout
        while channels:
            if several and self._last_wills.was_held_up(channels):
                for shard, here in shards.items():
                    walk(self._last_wills.show(here, shard), self._sync.run)
            pop = self._pop if len(shards) == 1 else self._pop_several
            deliveries, more = pop(shards, limit, self._pops.block_until(deadline))
            if deliveries or more is More.NEVER or (more is More.LATER and time.monotonic() >= deadline):
                return deliveries
        return []

    def received(self, shard: int, channels: list[str], replies: list[Reply]) -> tuple[list[Delivery], More]:
        """Read the replies to a pop."""
        deliveries, more, lost = self._pops.read(shard, channels, replies)
        for reader in lost:
            walk(self._last_wills.come_back(reader, shard), self._sync.run)
        return deliveries, more

    def end(self) -> None:
        """End the pops that wait for a receive which does not come, and put back what they took."""
        try:
            self._end_polls()
        except LayerUnavailable as error:
            logger.warning("messages may be lost at the end: %s", error)

    def _pop(self, shards: dict[int, list[str]], limit: int, block: float) -> tuple[list[Delivery], More]:
        """Take from the one server that has all the channels."""
        ((shard, here),) = shards.items()
        if len(self._hosts) > 1:
            self._end_polls(besides=tuple(sorted(here)))
        calls = self._pops.calls(shard, here, limit, block)
        try:
            replies = self._sync.run_blocking(shard, calls) if block else self._sync.run(shard, calls)
        except LayerUnavailable as error:
            self._pops.failed(shard, here, error)
            raise
        return self.received(shard, here, replies)

    def _pop_several(self, shards: dict[int, list[str]], limit: int, block: float) -> tuple[list[Delivery], More]:
        """Wait on several servers at once; see `Poller`."""
        purpose = tuple(sorted({name for here in shards.values() for name in here}))
        self._end_polls(besides=purpose)
        homes = self._homes(purpose)
        poller = self._pollers.borrow(purpose)
        try:
            begun = poller.start(
                shards, lambda shard: self._pops.calls(shard, shards[shard], limit, block, alone=False), homes
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
                    if shard in homes and homes.isdisjoint(poller.waiting):
                        raise
                    continue
                if deliveries or block or more is not More.LATER:
                    return deliveries, more
        finally:
            self._pollers.give_back(purpose, poller)

    def _finish_pop(self, poller: Poller, shard: int, channels: list[str]) -> tuple[list[Delivery], More]:
        try:
            replies = poller.finish(shard)
        except LayerUnavailable as error:
            self._pops.failed(shard, channels, error, alone=False)
            raise
        return self.received(shard, channels, replies)

    def _end_polls(self, besides: tuple[str, ...] = ()) -> None:
        """End pops that wait for a receive which does not come, and put back what they took.

        Those for the channels ``besides`` go on, and those that have none of these channels.
        """
        abandoned = self._pollers.take(besides)
        if abandoned:
            self._sync.unblock()
        for channels, poller in abandoned:
            shards = self._storage.receiving(channels)
            for shard in poller.waiting:
                try:
                    deliveries, _ = self._finish_pop(poller, shard, shards[shard])
                except LayerUnavailable:
                    continue  # and what may be lost is in the log
                try:
                    self._put_back(deliveries)
                except LayerUnavailable as error:
                    logger.warning("messages may be lost at the end of a receive: %s", error)

    # -- event loops -----------------------------------------------------------------------------

    async def areceive(self, channels: Sequence[str], limit: int, timeout: float) -> list[Delivery]:
        """See `ChannelLayer.receive_batch`."""
        if not channels:
            return []
        shards = self._storage.receiving(channels)
        deadline = time.monotonic() + timeout
        if len(self._hosts) > 1:
            purpose = tuple(sorted(set(channels)))
            for poller in self._async_pollers.take_overlapping(purpose):
                await self._aend(poller)
            if len(shards) > 1:
                return await self._areceive_several(purpose, shards, limit, deadline)
        ((shard, here),) = shards.items()
        while True:
            deliveries, more = await self._apop(shard, here, limit, self._pops.block_until(deadline))
            if deliveries or (more is not More.NOW and time.monotonic() >= deadline):
                return deliveries

    async def aend(self, channels: Sequence[str] = ()) -> None:
        """End what earlier receives on these channels, or any, left waiting in this event loop; put back what came."""
        for poller in self._async_pollers.take(tuple(sorted(set(channels)))):
            await self._aend(poller)

    async def _areceive_several(
        self, purpose: tuple[str, ...], shards: dict[int, list[str]], limit: int, deadline: float
    ) -> list[Delivery]:
        if self._last_wills.was_held_up(purpose):
            await together(awalk(self._last_wills.show(here, shard), self._async.run) for shard, here in shards.items())
        poller = self._async_pollers.borrow(purpose)
        try:
            await poller.guard(self._aend)
            return await self._poll(poller, shards, self._homes(purpose), limit, deadline)
        finally:
            self._async_pollers.give_back(purpose, poller)

    async def _poll(
        self, poller: AsyncPoller, shards: dict[int, list[str]], homes: set[int], limit: int, deadline: float
    ) -> list[Delivery]:
        looked: set[int] = set()
        """Servers that had nothing when they were asked without a wait."""
        asked: set[int] = set()
        """Servers that are asked so, and have not answered yet."""
        while True:
            block = self._pops.block_until(deadline)
            for shard in set(shards) - poller.waiting - (set() if block else looked):
                pop = self._apop(shard, shards[shard], limit, block, alone=False)
                # Who asks the only server of its channels takes its time by itself.
                poller.begin(shard, pop, rests=homes != {shard})
                if not block:
                    asked.add(shard)
            found = await poller.wait(OPERATION_SECONDS if asked else deadline - time.monotonic())
            if found is None:
                return []
            asked.discard(found)
            try:
                deliveries, more = poller.take(found)
            except (LayerUnavailable, LayerConfigurationError) as error:
                if found in homes and homes.issubset(poller.failing):
                    raise
                self._refusals.note(self._hosts[found].name, error)
                looked.add(found)
                continue
            self._refusals.forget(self._hosts[found].name)
            if deliveries:
                return deliveries
            if more is not More.NOW:
                looked.add(found)
            if not asked and more is not More.NOW and time.monotonic() >= deadline:
                return []

    async def _apop(
        self, shard: int, here: list[str], limit: int, block: float, *, alone: bool = True
    ) -> tuple[list[Delivery], More]:
        try:
            replies = await self._async.run(shard, self._pops.calls(shard, here, limit, block), blocks=True)
            deliveries, more, lost = self._pops.read(shard, here, replies)
        except LayerUnavailable as error:
            self._pops.failed(shard, here, error, alone=alone)
            raise
        for reader in lost:
            await awalk(self._last_wills.come_back(reader, shard), self._async.run)
        return deliveries, more

    async def _aend(self, poller: AsyncPoller) -> None:
        await self._async.unblock()
        for deliveries, _ in await poller.finish():
            try:
                await self._aput_back(deliveries)
            except LayerUnavailable as error:
                logger.warning("messages may be lost at the end of a receive: %s", error)

    # -- putting back ----------------------------------------------------------------------------

    def _put_back(self, deliveries: Sequence[Delivery]) -> None:
        """Put what one pop brought back to where it was."""
        if deliveries:
            shard, call = self._back(deliveries)
            raise_replies(self._sync.run(shard, [call]), self._hosts[shard].name)

    async def _aput_back(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            shard, call = self._back(deliveries)
            raise_replies(await self._async.run(shard, [call]), self._hosts[shard].name)

    def _back(self, deliveries: Sequence[Delivery]) -> tuple[int, Call]:
        """The call for this. A message to a group becomes one to each of the members that it was for."""
        items = []
        for delivery in deliveries:
            reader, local = names.split(delivery.channel)
            for member in (local,) if delivery.members is None else delivery.members:
                item = self._prepare(reader + member, delivery.message, delivery.headers)
                items.append((member, item, delivery.expires))
        shard = deliveries[0].server
        return shard, self._plan.put_front(shard, reader, items)

    # -- helpers ---------------------------------------------------------------------------------

    def _homes(self, channels: Iterable[str]) -> set[int]:
        """The servers that these channels are on, without those from which only messages to groups come."""
        return {self._storage.host_of(name) for name in channels}
