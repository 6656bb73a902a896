"""From connections to the layer: everything queued in one turn of the event loop is one write."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from channel_layer.backoff import Backoff
from channel_layer.delivery import Outgoing
from channel_layer.exceptions import ChannelFull, ChannelLayerError, LayerConfigurationError, LayerUnavailable, clause
from channel_layer.layer import ChannelLayer
from channel_layer.names import split
from channel_layer.outcome import Fate, fates

from ..facts import Facts
from ..options import Options

logger = logging.getLogger("interface_server.uplink")

BATCH_MESSAGES = 1_000
BATCH_BYTES = 4_194_304
FIRST_RETRY = 0.05
LAST_RETRY = 0.75
LEAST_SILENCE = 6.0
"""Seconds for which a process may be out of touch with its layer, at least: one receive may take two of them."""
DOUBT_SECONDS = 0.25
"""Time for a layer that has just failed to answer before it counts as away: a connection that was closed says nothing
about the next one."""
_OVERHEAD = 512


class SendListener(Protocol):
    """The sender of a queued message, told what became of it. Calls must not block or raise."""

    def sent(self, item: Outgoing) -> None:
        """The message was stored; only told to those who asked with ``report``."""

    def refused(self, item: Outgoing, error: ChannelLayerError) -> None:
        """It was not stored (`ChannelFull`; also `LayerUnavailable`, unless that leaves it open)."""


class Entry:
    """One queued message.

    Attributes:
        stored_at: when the layer had surely stored it, by the event loop's time; 0 before that.
        full_since: since when its channel has been full, if that is why it waits; else 0.
        cancelled: set it to withdraw a message that was not sent yet.
    """

    __slots__ = ("cancelled", "full_since", "item", "patient", "report", "sender", "stored_at")

    def __init__(self, item: Outgoing, sender: SendListener | None, patient: bool, report: bool) -> None:
        self.item = item
        self.sender = sender
        self.patient = patient
        self.report = report
        self.stored_at = 0.0
        self.full_since = 0.0
        self.cancelled = False

    @classmethod
    def stored(cls, stored_at: float) -> Entry:
        """The entry of a message that another process has sent."""
        entry = cls(Outgoing("", b""), None, patient=True, report=False)
        entry.stored_at = stored_at
        return entry


class Uplink:
    """Queue and writer of one process. Belongs to one event loop.

    Writes never overlap, so the order of one channel's messages holds; while a write is under way the
    next batch gathers. While the layer is known to be away nothing is tried: what is impatient is
    refused at once, what is patient waits for `mark_up`. If only a part of it is away, or it answers that it stores
    nothing, the rest goes on: each message is dealt with by what became of it.

    A process that was held up may have been taken for gone meanwhile, and its connections with it. Before
    it sends for one of them, it waits for what the layer has to say; see `confirm`.

    Args:
        layer: any channel layer.
        options: ``uplink_bytes`` bounds what may wait here in all, ``send_timeout`` and ``outage_timeout`` how long.
        on_doubt: called for a message with a last will that may have been stored or not, before its sender is told.
        facts: counts round trips and what is lost.

    Attributes:
        down: why the layer is away; ``None`` while it is there.
    """

    def __init__(
        self,
        layer: ChannelLayer,
        options: Options,
        on_doubt: Callable[[Outgoing], None] = lambda item: None,
        facts: Facts | None = None,
    ) -> None:
        self._layer = layer
        self._options = options
        self._max_bytes = options.uplink_bytes
        self._on_doubt = on_doubt
        self._facts = facts if facts is not None else Facts()
        self._queue: deque[Entry] = deque()
        self._full: deque[Entry] = deque()
        self._held: set[str] = set()
        self._bytes = 0
        self._writing = False
        self._doubted = False
        self._wake: asyncio.Future[None] | None = None
        self._confirmed = float("inf")
        self._longest_silence = max(LEAST_SILENCE, getattr(layer, "presence", 0))
        self._retry: asyncio.TimerHandle | None = None
        self._retries = Backoff(FIRST_RETRY, LAST_RETRY)
        self.down: LayerUnavailable | None = None

    def put(
        self,
        item: Outgoing,
        sender: SendListener | None = None,
        *,
        patient: bool = False,
        report: bool = False,
        kept: bool = False,
    ) -> Entry | None:
        """Queue a message; returns at once.

        Args:
            item: the prepared message.
            sender: who hears of its fate.
            patient: wait for room or for the broker instead of being refused. A message whose fate is
                unknown is never sent again.
            report: tell the sender when the message is stored.
            kept: the caller keeps a message that is refused, and puts it again: it does not count as lost.

        Returns:
            The entry, or ``None`` if the message is refused at once; then nobody is told.
        """
        size = len(item.body) + _OVERHEAD
        if self._bytes + size > self._max_bytes or (self.down is not None and not patient):
            if not kept:
                self._facts.lost.add("no room to send" if self.down is None else "layer away")
            return None
        self._bytes += size
        entry = Entry(item, sender, patient, report)
        self._queue.append(entry)
        wake = self._wake
        if wake is not None and not wake.done():
            wake.set_result(None)
        return entry

    @property
    def waiting_bytes(self) -> int:
        """About the bytes that wait to be written."""
        return self._bytes

    @property
    def is_idle(self) -> bool:
        """True if nothing waits and nothing is being written."""
        return not (self._queue or self._full or self._writing)

    def why_late(self, entry: Entry, since: float, now: float) -> ChannelLayerError | None:
        """The reason why a message that was queued at ``since`` waits too long; ``None`` if it does not."""
        if entry.full_since and self.down is None:
            late = now - entry.full_since >= self._options.send_timeout
            return ChannelFull(entry.item.target) if late else None
        if now - since < self._options.outage_timeout:
            return None
        return self.down or LayerUnavailable(self._layer.describe(), "it takes no messages")

    def mark_down(self, error: LayerUnavailable) -> None:
        """The layer is away: refuse what is impatient, hold the rest."""
        is_news = type(error) is not type(self.down)
        self.down = error
        if is_news:
            level = logging.ERROR if isinstance(error, LayerConfigurationError) else logging.WARNING
            logger.log(level, "%s; trying again until it answers", clause(error))
        waiting, self._queue = self._queue, deque()
        for entry in waiting:
            if entry.patient:
                self._queue.append(entry)
            else:
                self._refuse(entry, error)

    def mark_up(self) -> None:
        """The layer answers again."""
        self.down = None
        self._wake_up()

    def confirm(self, since: float) -> None:
        """The layer has answered what it was asked at ``since``, by the event loop's time."""
        was_out_of_touch = asyncio.get_running_loop().time() - self._confirmed > self._longest_silence
        self._confirmed = since
        if was_out_of_touch:
            self._wake_up()

    @property
    def is_writing(self) -> bool:
        """True while a write is under way."""
        return self._writing

    def halt(self) -> None:
        """Begin no further write before `confirm` is called again."""
        self._confirmed = float("-inf")

    def take_back(self, is_wanted: Callable[[SendListener], bool]) -> dict[SendListener, list[Entry]]:
        """Withdraw what senders have queued and nobody has written yet; by sender, in order."""
        taken: dict[SendListener, list[Entry]] = {}
        for entry in [*self._full, *self._queue]:
            sender = entry.sender
            if not entry.cancelled and sender is not None and is_wanted(sender):
                entry.cancelled = True
                taken.setdefault(sender, []).append(entry)
        return taken

    async def run(self) -> None:
        """Write until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._queue or self.down is not None or loop.time() - self._confirmed > self._longest_silence:
                self._wake = loop.create_future()
                await self._wake
                continue
            batch = self._take()
            if batch:
                self._writing = True
                try:
                    await self._write(batch)
                finally:
                    self._writing = False

    async def _write(self, batch: list[Entry]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            refused = await self._layer.asend_batch([entry.item for entry in batch])
        except Exception as error:
            if not isinstance(error, LayerUnavailable):
                logger.exception("sending %d messages failed", len(batch))
                error = LayerUnavailable(self._layer.describe(), repr(error))
            self._fail(batch, error, loop.time() - began)
            return
        self._doubted = False
        now = loop.time()
        self._facts.writes.observe(now - began)
        if refused:
            self._settle(batch, fates([entry.item for entry in batch], refused, None), None)
            return
        if not self._held:
            self._retries.reset()
        self._stored(batch, now)

    def _stored(self, entries: Iterable[Entry], now: float) -> None:
        for entry in entries:
            entry.stored_at = now
            self._bytes -= len(entry.item.body) + _OVERHEAD
            if entry.report and entry.sender is not None:
                entry.sender.sent(entry.item)

    def _fail(self, batch: list[Entry], error: LayerUnavailable, seconds: float) -> None:
        """Deal with what could not be sent; if nothing can be sent now, the layer is down."""
        self._facts.failures += 1
        waiting = self._settle(batch, fates([entry.item for entry in batch], (), error), error)
        if error.reachable or self._was_cut(error, seconds):
            self._hold(waiting)
        else:
            self._queue.extendleft(reversed(waiting))
            self.mark_down(error)

    def _was_cut(self, error: LayerUnavailable, seconds: float) -> bool:
        """True if perhaps only a connection ended. The next write tells."""
        doubted, self._doubted = self._doubted, True
        return error.uncertain and seconds < DOUBT_SECONDS and not doubted

    def _settle(self, batch: list[Entry], fates: list[Fate], error: LayerUnavailable | None) -> list[Entry]:
        """Deal with each message by what became of it, and return those that are to be sent again."""
        now = asyncio.get_running_loop().time()
        unsent = []
        for entry, fate in zip(batch, fates, strict=True):
            if fate is Fate.STORED:
                self._stored((entry,), now)
            elif fate is Fate.FULL:
                if entry.patient:
                    entry.full_since = entry.full_since or now
                    self._hold([entry])
                else:
                    self._refuse(entry, ChannelFull(entry.item.target))
            elif fate is Fate.UNSENT and entry.patient:
                entry.full_since = 0.0
                unsent.append(entry)
            else:
                assert error is not None
                if fate is Fate.UNKNOWN and entry.item.last_will is not None:
                    self._on_doubt(entry.item)
                self._refuse(entry, error)
        return unsent

    def _take(self) -> list[Entry]:
        batch: list[Entry] = []
        size = 0
        queue = self._queue
        while queue and len(batch) < BATCH_MESSAGES and size < BATCH_BYTES:
            entry = queue.popleft()
            if entry.cancelled:
                self._bytes -= len(entry.item.body) + _OVERHEAD
                continue
            # A process has one queue: its channels are full together, and what goes to them is in one order.
            if self._held and entry.patient and split(entry.item.target)[0] in self._held:
                self._full.append(entry)  # behind what waits for that channel already
                continue
            size += len(entry.item.body)
            batch.append(entry)
        return batch

    def _hold(self, entries: list[Entry]) -> None:
        """Keep messages for channels that take none now, and try again soon."""
        self._full.extend(entries)
        self._held.update(split(entry.item.target)[0] for entry in entries)
        if self._full and self._retry is None:
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(self._retries.next(), self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._queue.extendleft(reversed(self._full))
        self._full.clear()
        self._held.clear()
        self._wake_up()

    def _refuse(self, entry: Entry, error: ChannelLayerError) -> None:
        self._bytes -= len(entry.item.body) + _OVERHEAD
        self._facts.lost.add("channel full" if isinstance(error, ChannelFull) else "layer away")
        if entry.sender is not None and not entry.cancelled:
            entry.sender.refused(entry.item, error)

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
