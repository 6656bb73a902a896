"""The sends of finished consumers, many consumers' worth in one write.

No thread waits here for a full channel: the messages it refused are kept and tried again, and later ones queue
behind them, so that one reader that does not keep up holds up no worker. Only when very many
are kept do the threads that produce them wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from channel_layer.delivery import Delivery, Outgoing
from channel_layer.exceptions import LayerUnavailable
from channel_layer.layer import ChannelLayer
from channel_layer.outbox import Outbox
from channel_layer.outcome import Fate, fates

from .facts import Facts

logger = logging.getLogger(__name__)

MOST_ITEMS = 24
MOST_BYTES = 262_144
"""So much is sent at once, without waiting for the end of a batch of messages: its receiver can begin. With 12 the
round trips cost more than that gains, with 64 worker and interface server wait for each other (docs/performance.md).
"""

FULL_SECONDS = 5.0
"""The time that messages wait for a channel that takes none, before they are dropped."""

AWAY_SECONDS = 30.0
"""The time that messages wait for a layer that cannot be reached, before they are dropped."""

LAST_SECONDS = 1.0
"""The time that both get once the worker has stopped and only waits for them."""

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.5

MOST_KEPT = 2_000
"""Refused messages beyond which senders wait."""


class _Line:
    """The messages to one layer, in order. Used by one thread at a time."""

    def __init__(self, layer: ChannelLayer, facts: Facts) -> None:
        self.layer = layer
        self._facts = facts
        self.kept: list[Outgoing] = []
        self._since: dict[str, float] = {}
        self._unreached: dict[str, LayerUnavailable] = {}
        self._away_since: float | None = None
        self._retry_at = 0.0
        self._pause = FIRST_PAUSE

    def send(self, fresh: list[Outgoing], patience: float | None) -> None:
        """Send new messages, and those kept if it is time to; ``patience`` shortens the waiting."""
        items = self.take(fresh)
        if not items:
            return
        try:
            refused = self.layer.send_batch(items)
        except LayerUnavailable as error:
            self.settle(items, [], error, patience)
        except Exception:
            self._facts.lost.add("layer away", len(items))
            logger.exception("%d messages dropped", len(items))
        else:
            self.settle(items, refused, None, patience)

    def begin_anew(self) -> None:
        """Let the patience with full channels and an absent layer begin now, and with a try."""
        now = self._retry_at = time.monotonic()
        self._pause = FIRST_PAUSE
        self._since = dict.fromkeys(self._since, now)
        if self._away_since is not None:
            self._away_since = now

    def take(self, fresh: list[Outgoing]) -> list[Outgoing]:
        """The messages to be sent now: new ones, and those kept if it is time to."""
        if self.kept and time.monotonic() < self._retry_at:
            # Behind what waits already; to a layer that is away, everything waits.
            away = self._away_since is not None
            self.kept += [item for item in fresh if away or _full_name(item) in self._since]
            return [item for item in fresh if not away and _full_name(item) not in self._since]
        items, self.kept = self.kept + fresh, []
        return items

    def settle(
        self,
        items: list[Outgoing],
        refused: list[Outgoing],
        error: LayerUnavailable | None,
        patience: float | None,
    ) -> None:
        """Keep the messages that were not sent, unless they have waited long enough."""
        if error is None and not refused and not self._since:  # everything is stored, as nearly always
            self._away_since = None
            self._pause = FIRST_PAUSE
            return
        now = time.monotonic()
        found = fates(items, refused, error)
        unknown = found.count(Fate.UNKNOWN)
        if unknown:
            self._facts.lost.add("connection lost while sending", unknown)
            logger.error("%d messages may be lost: %s", unknown, error)
        if error is None or error.reachable:
            self._away_since = None
            self._keep_by_channel(items, found, now, patience, error)
        else:
            unsent = [item for item, fate in zip(items, found, strict=True) if fate is Fate.UNSENT]
            if unsent:
                self._keep_while_away(unsent, now, AWAY_SECONDS if patience is None else patience, error)

    def _keep_while_away(self, items: list[Outgoing], now: float, patience: float, error: LayerUnavailable) -> None:
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since > patience:
            self._facts.lost.add("layer away", len(items))
            logger.error("%d messages dropped: %s", len(items), error)
            items = []
            self._away_since = None
        self.kept = items + self.kept
        self._wait_longer(now)

    def _keep_by_channel(
        self,
        items: list[Outgoing],
        found: list[Fate],
        now: float,
        patience: float | None,
        error: LayerUnavailable | None,
    ) -> None:
        """Keep messages to full channels and to a part of the layer that is away; the rest goes on."""
        kept: dict[str, list[Outgoing]] = {}
        for item, fate in zip(items, found, strict=True):
            name = _full_name(item)
            if fate is Fate.FULL or fate is Fate.UNSENT:
                kept.setdefault(name, []).append(item)
                if fate is Fate.UNSENT and error is not None:
                    self._unreached[name] = error
                else:
                    self._unreached.pop(name, None)
            elif self._since.pop(name, None) is not None:
                # It took some: its patience starts anew, and soon it may take more.
                self._pause = FIRST_PAUSE
        again = []
        for name in {_full_name(item): None for item in items}:
            waiting = kept.get(name)
            if waiting is None:
                self._unreached.pop(name, None)
                continue
            longest = patience
            if longest is None:
                longest = AWAY_SECONDS if name in self._unreached else FULL_SECONDS
            if now - self._since.setdefault(name, now) > longest:
                self._drop(name, waiting)
            else:
                again += waiting
        if again:
            self.kept = again + self.kept
            self._wait_longer(now)
        else:
            self._pause = FIRST_PAUSE

    def _drop(self, name: str, waiting: list[Outgoing]) -> None:
        """Give up on a channel that took nothing for too long."""
        behind = [item for item in self.kept if _full_name(item) == name]
        self.kept = [item for item in self.kept if _full_name(item) != name]
        del self._since[name]
        away = self._unreached.pop(name, None)
        self._facts.lost.add("layer away" if away else "channel full", len(waiting + behind))
        why: object = away or "it is full"
        logger.error("%d messages to %s dropped, which took none for too long: %s", len(waiting + behind), name, why)

    def _wait_longer(self, now: float) -> None:
        self._retry_at = now + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)


class Sender:
    """Collect the sends of finished consumers and flush them.

    Thread-safe. Messages that one thread adds to one channel leave in the order in which they were added,
    also when the channel is full for a while; one flush at a time sees to that.

    Args:
        stopping: returns true once the worker stops: then no time, and no room, is waited for.
        facts: counts what is dropped.
    """

    def __init__(self, stopping: Callable[[], bool], facts: Facts | None = None) -> None:
        self._stopping = stopping
        self._facts = facts if facts is not None else Facts()
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._pending: Outbox = []
        self._bytes = 0
        self._later: list[tuple[float, ChannelLayer, Outgoing]] = []
        self._lines: dict[int, _Line] = {}
        self._kept = 0
        self._patience: float | None = None

    @property
    def is_empty(self) -> bool:
        """True if nothing waits here to be sent."""
        return not (self._pending or self._kept or self._later)

    def add(self, outbox: Outbox) -> None:
        """Take over the messages of a consumer; flushes when many have gathered.

        Blocks while more than `MOST_KEPT` wait for channels that are full: that is how a consumer which sends
        more than others receive is slowed down.
        """
        if not outbox:
            return
        with self._lock:
            self._pending += outbox
            for _, item in outbox:
                self._bytes += len(item.body)
            much = len(self._pending) >= MOST_ITEMS or self._bytes >= MOST_BYTES
        if much:
            self.flush()
            while self._kept > MOST_KEPT and not self._stopping():
                time.sleep(FIRST_PAUSE)
                self.flush()

    def add_later(self, seconds: float, layer: ChannelLayer, item: Outgoing) -> None:
        """Send a message after a pause, or when the worker stops, whichever is sooner."""
        with self._lock:
            self._later.append((time.monotonic() + seconds, layer, item))

    def flush(self) -> None:
        """Send everything that can be sent now. Blocks as long as the layer does; never raises."""
        if self.is_empty:
            return
        with self._flushing:
            try:
                self._flush()
            except Exception:
                logger.exception("sending failed; going on")

    def receive(self, layer: ChannelLayer, channels: Sequence[str], limit: int, timeout: float) -> list[Delivery]:
        """Send everything that can be sent now, and receive from one of the layers; in one round trip if it can.

        Raises:
            LayerUnavailable: receiving failed. Errors of the sending are dealt with here.
        """
        exchange = None
        if not self.is_empty:
            # Others can flush as soon as these are on their way: they need not wait for what is received.
            with self._flushing:
                items = self._flush(besides=layer)
                if items:
                    try:
                        exchange = layer.begin_exchange(items, channels, limit, timeout)
                    except Exception:
                        self._facts.lost.add("layer away", len(items))
                        logger.exception("%d messages dropped", len(items))
                        raise
        if exchange is None:
            return layer.receive_batch(channels, limit=limit, timeout=timeout)

        def sent(refused: list[Outgoing], error: LayerUnavailable | None) -> None:
            with self._flushing:
                self._lines[id(layer)].settle(items, refused, error, self._patience)
                self._count_kept()

        return exchange.finish(sent)

    def drain(self, seconds: float = 0.0) -> None:
        """Send everything, for the last time.

        Full channels and an absent layer get `LAST_SECONDS` each, which begin anew whenever they take something.

        Args:
            seconds: the time that all of it may take, if that is more than twice `LAST_SECONDS`.
        """
        deadline = time.monotonic() + max(seconds, 2 * LAST_SECONDS)
        with self._flushing:
            self._patience = LAST_SECONDS
            for line in self._lines.values():
                line.begin_anew()
        while not self.is_empty and time.monotonic() < deadline:
            self.flush()
            if self._kept:
                time.sleep(FIRST_PAUSE)
        if self._kept:
            self._facts.lost.add("channel full", self._kept)
            logger.error(
                "%d messages dropped: there is no more time for channels that are slow to take them", self._kept
            )

    def _flush(self, besides: ChannelLayer | None = None) -> list[Outgoing]:
        """Send to every layer but one; returns the messages to that one, for the caller to send."""
        stopping = self._stopping()
        with self._lock:
            pending, self._pending, self._bytes = self._pending, [], 0
            if self._later:
                now = time.monotonic()
                pending += [(layer, item) for due, layer, item in self._later if stopping or due <= now]
                self._later = [entry for entry in self._later if not stopping and entry[0] > now]
        fresh: dict[int, list[Outgoing]] = {}
        for layer, item in pending:
            key = id(layer)
            if key in fresh:
                fresh[key].append(item)
                continue
            fresh[key] = [item]
            if key not in self._lines:
                self._lines[key] = _Line(layer, self._facts)
                if len(self._lines) > 1:
                    for line in self._lines.values():
                        line.layer.beside_others()
        left: list[Outgoing] = []
        for key, line in self._lines.items():
            if key not in fresh and not line.kept:
                continue
            if line.layer is besides:
                left = line.take(fresh.get(key, []))
            else:
                line.send(fresh.get(key, []), self._patience)
        self._count_kept()
        return left

    def _count_kept(self) -> None:
        kept = 0
        for line in self._lines.values():
            kept += len(line.kept)
        self._kept = kept


def _full_name(item: Outgoing) -> str:
    """A name to keep order by; no channel is called like that of a group."""
    return f"group {item.target}" if item.group else item.target
