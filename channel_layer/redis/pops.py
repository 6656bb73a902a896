"""Taking messages off queues, and what rides with it: heartbeats, and looks for processes that have gone. No I/O."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from itertools import permutations
from math import ceil
from random import random
from typing import TypeAlias

from .. import codec
from ..cipher import Sealer
from ..delivery import Delivery
from ..exceptions import LayerUnavailable, clause
from ..layer import ChannelLayer
from .errors import is_unblocked, raise_replies
from .hosts import BLOCK_SECONDS, Host
from .last_wills import LastWillSchedule
from .plan import Planner
from .presence import Presence
from .scripts import Call, Reply

logger = logging.getLogger(__name__)


_Frames: TypeAlias = Sequence[tuple[bytes | memoryview, float]]

_ALL_ORDERS = 5
"""Number of channels up to which all their orders are kept. More channels are shuffled each time."""

_MOST_LISTS = 64
"""Lists of channels of which orders are kept."""


class _Orders:
    """Orders to look through the channels of a receive in, and those of the channels that are of processes."""

    __slots__ = ("_channels", "_orders", "of_processes")

    def __init__(self, channels: tuple[str, ...]) -> None:
        self.of_processes = [name for name in channels if name.endswith("!")]
        self._channels = channels
        self._orders = list(permutations(channels)) if len(channels) <= _ALL_ORDERS else []

    def any(self) -> tuple[str, ...]:
        """One of all orders at random, so that no channel starves another."""
        if self._orders:
            return self._orders[int(random() * len(self._orders))]
        # `random.sample` takes four times as long.
        return tuple(sorted(self._channels, key=lambda _: random()))


class More(IntEnum):
    """Next step after a pop that brought nothing to deliver."""

    LATER = 0
    """There was nothing: wait for the rest of the time."""
    NOW = 1
    """There was something, but expired or for the membership index: look again at once."""
    NEVER = 2
    """Somebody interrupted: return."""


class Pops:
    """Builds the pipelines that take messages off queues, and reads the replies.

    Args:
        layer: opens the frames and counts what is lost.
        hosts: the servers.
        plan, presence, last_wills, sealer: of the layer.
    """

    def __init__(
        self,
        layer: ChannelLayer,
        hosts: Sequence[Host],
        plan: Planner,
        presence: Presence,
        last_wills: LastWillSchedule,
        sealer: Sealer | None,
    ) -> None:
        self._layer = layer
        self._hosts = hosts
        self._plan = plan
        self._presence = presence
        self._last_wills = last_wills
        self._sealer = sealer
        # A heartbeat that waits for a pop to end must not come too late, nor the answer.
        patience = [host.timeout / 2 for host in hosts if host.timeout is not None]
        self._longest_block: float = min(BLOCK_SECONDS, layer.presence / 3, *patience)
        self._orders = lru_cache(_MOST_LISTS)(_Orders)

    def block_until(self, deadline: float) -> float:
        """Return the time to block in Redis: not longer than a pop may take, and 0 for not at all.

        In whole milliseconds, so that one command in Redis' protocol does for many pops.
        """
        seconds = min(self._longest_block, deadline - time.monotonic())
        return max(0.0, min(self._longest_block, ceil(seconds * 1000) / 1000))

    def calls(self, shard: int, channels: list[str], limit: int, block: float, *, alone: bool = True) -> list[Call]:
        """A pop, and in front of it what is due.

        Args:
            alone: whether nothing else is waited for meanwhile. Otherwise a pop does not block behind something that is
                answered at once: the answers are read when the first of them is there.
        """
        orders = self._orders(tuple(channels))
        before = self._presence.due(shard, orders.of_processes) + self._last_wills.look(shard)
        if shard in self._last_wills.unfinished or (before and not alone):
            block = 0
        return [*before, *self._plan.pop(shard, orders.any(), limit, block)]

    def read(self, shard: int, channels: list[str], replies: list[Reply]) -> tuple[list[Delivery], More, list[str]]:
        """Read the replies: deliveries, the next step, and readers of which the server has lost something.

        An error in what rides with a pop does not concern what was popped.

        Raises:
            LayerUnavailable, LayerConfigurationError: the pop was refused; nothing was popped.
        """
        *before, popped, now = replies
        lost = self._read_before(shard, channels, before) if before else []
        if isinstance(popped, Exception):
            if is_unblocked(popped):
                return [], More.NEVER, lost
            raise_replies([popped], self._hosts[shard].name)
        layer = self._layer
        reader, frames, expired = self._plan.popped(shard, popped, now)
        layer.counters.expired += expired
        if (fence := self._hosts[shard].fence) and frames:
            frames = self._behind(fence, shard, frames)
        if self._sealer is not None and frames:
            frames, bad = self._sealer.open_all(reader, frames, int(self._plan.clocks[shard].ms() / 1000))
            layer.counters.bad_frames += bad
        deliveries = layer.open_frames(reader, frames) if frames else []
        if shard:
            for delivery in deliveries:
                delivery.server = shard
        return deliveries, More.NOW if popped or shard in self._last_wills.unfinished else More.LATER, lost

    def _behind(self, fence: float, shard: int, frames: _Frames) -> _Frames:
        """Drop messages that were stored before a time; what the process was told of its members holds as before."""
        end = fence + self._layer.expiry * 1000
        if self._plan.clocks[shard].ms() > end:  # all of them have expired
            self._hosts[shard].fence = 0.0
            return frames
        kept = [frame for frame in frames if frame[1] > end or codec.is_membership(frame[0])]
        self._layer.counters.possible_losses += len(frames) - len(kept)
        return kept

    def failed(self, shard: int, channels: list[str], error: LayerUnavailable, *, alone: bool = True) -> None:
        """A pop failed, and may have taken a message with it.

        Args:
            alone: whether the caller is told. Otherwise it may go on with other servers, so the log says it.
        """
        self._presence.reconnect(shard, channels)
        if error.uncertain:
            self._layer.counters.possible_losses += 1
            if not alone:
                logger.warning("%s; a message may be lost", clause(error))

    def _read_before(self, shard: int, channels: list[str], replies: list[Reply]) -> list[str]:
        """The answers to what stands in front of a pop: those to renewals, then a list if there was a look."""
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        if errors:
            logger.warning("heartbeats or last wills have to wait: %s", errors[0])
            self._presence.reconnect(shard, channels)
            self._last_wills.looked(shard, there_is_more=False)
        if type(replies[-1]) is list:
            self._last_wills.looked(shard, bool(replies.pop()[0]))
        return self._presence.lost(shard, channels, [reply for reply in replies if not isinstance(reply, Exception)])
