"""The sends of finished consumers, many consumers' worth in one write.

No thread waits here for a full channel: the messages it refused are kept and tried again, and later ones queue
behind them, so that one reader that does not keep up holds up no worker. Only when very many
are kept do the threads that produce them wait.

The threads of the worker send to its own layer, from which they receive. What goes to another layer has a thread of
its own: a broker that is frozen, away, slow or full holds up what goes to it and nothing else.
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
"""Messages that wait for one layer beyond which those who send to it wait."""

LINGER_SECONDS = 10.0
"""The time without a message after which the thread that sends to another layer ends; the next one starts it again."""


class _Line:
    """The messages to one layer, in order. Thread-safe; one flush at a time sees to the order.

    Attributes:
        layer: where to.
        kept: messages that were refused or could not be sent. Changed under the lock of the flush.
        has_much: whether so much has gathered that it is to be sent at once.
    """

    def __init__(self, layer: ChannelLayer, stopping: Callable[[], bool], facts: Facts) -> None:
        self.layer = layer
        self._stopping = stopping
        self._facts = facts
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._pending: list[Outgoing] = []
        self._bytes = 0
        self.has_much = False
        self._later: list[tuple[float, Outgoing]] = []
        self._in_hand = 0
        self.kept: list[Outgoing] = []
        self._patience: float | None = None
        self._begins_anew = False
        self._since: dict[str, float] = {}
        self._unreached: dict[str, LayerUnavailable] = {}
        self._away_since: float | None = None
        self._retry_at = 0.0
        self._pause = FIRST_PAUSE

    @property
    def is_empty(self) -> bool:
        """True if nothing waits for a flush."""
        return not (self._pending or self.kept or self._later)

    @property
    def is_done(self) -> bool:
        """True if nothing waits for a flush, and none is under way."""
        if not self._flushing.acquire(blocking=False):
            return False
        try:
            return self.is_empty
        finally:
            self._flushing.release()

    @property
    def is_crowded(self) -> bool:
        """True if so much waits that those who send more have to wait, too."""
        return len(self.kept) + self._in_hand + len(self._pending) > MOST_KEPT

    def add(self, outbox: Outbox) -> Outbox:
        """Take over what of an outbox is for this layer, and return the rest; nothing is sent yet."""
        rest: Outbox = []
        mine = self.layer
        with self._lock:
            pending = self._pending
            for layer, item in outbox:
                if layer is mine:
                    pending.append(item)
                    self._bytes += len(item.body)
                else:
                    rest.append((layer, item))
            self.has_much = len(pending) >= MOST_ITEMS or self._bytes >= MOST_BYTES
        return rest

    def add_later(self, seconds: float, item: Outgoing) -> None:
        """Take over a message that is to be sent after a pause."""
        with self._lock:
            self._later.append((time.monotonic() + seconds, item))

    def due_in(self) -> float | None:
        """Seconds until there may be something to be sent; ``None`` if nothing waits. For the thread that flushes."""
        due = [at for at, _ in list(self._later)]
        if self.kept:
            due.append(self._retry_at)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def flush(self) -> None:
        """Send everything that can be sent now. Blocks as long as the layer does; never raises."""
        if self.is_empty:
            return
        with self._flushing:
            try:
                items = self._take()
                if items:
                    self._send(items)
            except Exception:
                logger.exception("sending failed; going on")
            finally:
                self._in_hand = 0

    def receive(self, channels: Sequence[str], limit: int, timeout: float) -> list[Delivery]:
        """Send everything that can be sent now, and receive from the layer; see `Sender.receive`."""
        if self.is_empty:
            return self.layer.receive_batch(channels, limit=limit, timeout=timeout)
        # Others can flush as soon as these are on their way: they need not wait for what is received.
        with self._flushing:
            items = self._take()
            self._in_hand = 0
            if items:
                try:
                    exchange = self.layer.begin_exchange(items, channels, limit, timeout)
                except Exception:
                    self._facts.lost.add("layer away", len(items))
                    logger.exception("%d messages dropped", len(items))
                    raise
        if not items:
            return self.layer.receive_batch(channels, limit=limit, timeout=timeout)

        def sent(refused: list[Outgoing], error: LayerUnavailable | None) -> None:
            with self._flushing:
                self._settle(items, refused, error)

        return exchange.finish(sent)

    def hurry(self) -> None:
        """Let the patience with full channels and an absent layer be short from now on, and begin anew, with a try.

        Waits for no flush that is under way.
        """
        self._begins_anew = True
        self._patience = LAST_SECONDS

    def write_off(self) -> None:
        """Tell of what is left when there is no more time."""
        in_hand, unsent = self._in_hand, len(self.kept) + len(self._pending)
        if in_hand:
            self._facts.lost.add("connection lost while sending", in_hand)
            logger.error("%d messages may be lost: %s has not answered in time", in_hand, self.layer.describe())
        if unsent:
            slow = self.layer.describe() if in_hand else "channels that are slow to take them"
            self._facts.lost.add("layer away" if in_hand else "channel full", unsent)
            logger.error("%d messages dropped: there is no more time for %s", unsent, slow)

    # -- under the lock of the flush -------------------------------------------------------------

    def _take(self) -> list[Outgoing]:
        """The messages to be sent now: new ones, and those kept if it is time to."""
        with self._lock:
            self._in_hand = len(self._pending)
            fresh, self._pending, self._bytes, self.has_much = self._pending, [], 0, False
            if self._later:
                fresh += self._take_due()
        if not self.kept:
            return fresh
        self._begin_anew_if_told()
        if time.monotonic() < self._retry_at:
            # Behind what waits already; to a layer that is away, everything waits.
            away = self._away_since is not None
            self.kept += [item for item in fresh if away or _full_name(item) in self._since]
            return [item for item in fresh if not away and _full_name(item) not in self._since]
        items = self.kept + fresh
        # In this order: whoever waits for room sees them at every moment.
        self._in_hand, self.kept = len(items), []
        return items

    def _take_due(self) -> list[Outgoing]:
        now = float("inf") if self._stopping() else time.monotonic()
        due = [item for at, item in self._later if at <= now]
        self._later = [entry for entry in self._later if entry[0] > now]
        return due

    def _send(self, items: list[Outgoing]) -> None:
        try:
            refused = self.layer.send_batch(items)
        except LayerUnavailable as error:
            self._settle(items, [], error)
        except Exception:
            self._facts.lost.add("layer away", len(items))
            logger.exception("%d messages dropped", len(items))
        else:
            self._settle(items, refused, None)

    def _begin_anew_if_told(self) -> None:
        if not self._begins_anew:
            return
        self._begins_anew = False
        now = self._retry_at = time.monotonic()
        self._pause = FIRST_PAUSE
        self._since = dict.fromkeys(self._since, now)
        if self._away_since is not None:
            self._away_since = now

    def _settle(self, items: list[Outgoing], refused: list[Outgoing], error: LayerUnavailable | None) -> None:
        """Keep the messages that were not sent, unless they have waited long enough."""
        if error is None and not refused and not self._since:  # everything is stored, as nearly always
            self._away_since = None
            self._pause = FIRST_PAUSE
            return
        self._begin_anew_if_told()
        now = time.monotonic()
        found = fates(items, refused, error)
        unknown = found.count(Fate.UNKNOWN)
        if unknown:
            self._facts.lost.add("connection lost while sending", unknown)
            logger.error("%d messages may be lost: %s", unknown, error)
        if error is None or error.reachable:
            self._away_since = None
            self._keep_by_channel(items, found, now, error)
        else:
            unsent = [item for item, fate in zip(items, found, strict=True) if fate is Fate.UNSENT]
            if unsent:
                self._keep_while_away(unsent, now, error)

    def _keep_while_away(self, items: list[Outgoing], now: float, error: LayerUnavailable) -> None:
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since > (AWAY_SECONDS if self._patience is None else self._patience):
            self._facts.lost.add("layer away", len(items))
            logger.error("%d messages dropped: %s", len(items), error)
            items = []
            self._away_since = None
        self.kept = items + self.kept
        self._wait_longer(now)

    def _keep_by_channel(
        self, items: list[Outgoing], found: list[Fate], now: float, error: LayerUnavailable | None
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
            longest = self._patience
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


class _Courier:
    """Sends to a layer that is not the worker's own, in a thread of its own, so that nothing else waits for that layer.

    The thread starts with a message, and ends when none has come for `LINGER_SECONDS`, or when it is let go.
    Thread-safe; nothing here blocks.

    Attributes:
        line: the messages to the layer.
    """

    def __init__(self, line: _Line) -> None:
        self.line = line
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None
        self._linger = LINGER_SECONDS

    def let_go(self) -> None:
        """Have the thread, also one that starts later, end as soon as nothing is left to be sent."""
        self._linger = 0.0
        self._news.set()

    def wake(self) -> None:
        """Have the thread look for what is to be sent."""
        self._news.set()
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name="sender-to-other-layer", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while self._wait():
            self._news.clear()
            self.line.flush()

    def _wait(self) -> bool:
        """Wait until there may be something to be sent; false if that was in vain, and the thread is to end."""
        due = self.line.due_in()
        if self._news.wait(self._linger if due is None else due) or due is not None:
            return True
        with self._lock:
            if self._news.is_set():
                return True
            self._thread = None
            return False


class Sender:
    """Collect the sends of finished consumers and flush them.

    Thread-safe. Messages that one thread adds to one channel leave in the order in which they were added,
    also when the channel is full for a while. Between layers there is no order, and none waits for another: what is
    not for the worker's own layer is sent by a thread for each.

    Args:
        layer: the worker's own.
        stopping: returns true once the worker stops: then no time, and no room, is waited for.
        facts: counts what is dropped.
    """

    def __init__(self, layer: ChannelLayer, stopping: Callable[[], bool], facts: Facts | None = None) -> None:
        self._stopping = stopping
        self._facts = facts if facts is not None else Facts()
        self._lock = threading.Lock()
        self._home = _Line(layer, stopping, self._facts)
        self._couriers: dict[int, _Courier] = {}
        self._is_last = False

    @property
    def is_empty(self) -> bool:
        """True if nothing waits here to be sent."""
        return all(line.is_empty for line in self._lines())

    def add(self, outbox: Outbox) -> None:
        """Take over the messages of a consumer; flushes when many have gathered.

        Blocks while more than `MOST_KEPT` wait for a layer that some of these are for: that is how a consumer which
        sends more than others receive is slowed down.
        """
        if not outbox:
            return
        rest = self._home.add(outbox)
        if rest:
            self._give_to_couriers(rest)
        if self._home.has_much:
            self._home.flush()
        elif not rest:  # as nearly always
            return
        while not self.has_room_for(outbox):
            time.sleep(FIRST_PAUSE)
            self.flush()

    def add_elsewhere(self, outbox: Outbox) -> None:
        """Take over those messages of a consumer that are not for the worker's own layer. Never blocks."""
        own = self._home.layer
        for layer, _ in outbox:
            if layer is not own:
                self._give_to_couriers([entry for entry in outbox if entry[0] is not own])
                break

    def add_here(self, outbox: Outbox) -> None:
        """Take over those that `add_elsewhere` has left; flushes as `add` does, and does not wait for room."""
        self._home.add(outbox)
        if self._home.has_much:
            self._home.flush()

    def has_room_for(self, outbox: Outbox) -> bool:
        """True if no more than `MOST_KEPT` messages wait for any layer that an outbox is for, or the worker stops."""
        if not self._couriers and not self._home.is_crowded:  # with one layer this is asked for each coroutine
            return True
        crowded = {id(line.layer) for line in self._lines() if line.is_crowded}
        return not crowded or self._stopping() or crowded.isdisjoint(id(layer) for layer, _ in outbox)

    def add_later(self, seconds: float, layer: ChannelLayer, item: Outgoing) -> None:
        """Send a message after a pause, or when the worker stops, whichever is sooner."""
        if layer is self._home.layer:
            self._home.add_later(seconds, item)
        else:
            courier = self._courier_for(layer)
            courier.line.add_later(seconds, item)
            courier.wake()

    def flush(self) -> None:
        """Send everything that can be sent now to the worker's own layer; what is for others is on its way anyhow.

        Blocks as long as that layer does; never raises.
        """
        self._home.flush()
        if self._couriers and self._stopping():
            self._wake_couriers()

    def receive(self, channels: Sequence[str], limit: int, timeout: float) -> list[Delivery]:
        """Send what can be sent now to the worker's layer, and receive from it; in one round trip if it can.

        Raises:
            LayerUnavailable: receiving failed. Errors of the sending are dealt with here.
        """
        return self._home.receive(channels, limit, timeout)

    def drain(self, seconds: float = 0.0) -> None:
        """Send everything, for the last time, to all layers at once.

        Full channels and an absent layer get `LAST_SECONDS` each, which begin anew whenever they take something.

        Args:
            seconds: the time that all of it may take, if that is more than twice `LAST_SECONDS`.
        """
        deadline = time.monotonic() + max(seconds, 2 * LAST_SECONDS)
        with self._lock:
            self._is_last = True
        for line in self._lines():
            line.hurry()
        self._wake_couriers()
        while not self._is_done and time.monotonic() < deadline:
            self.flush()
            if not self._is_done:
                time.sleep(FIRST_PAUSE)
        for line in self._lines():
            line.write_off()
        for courier in list(self._couriers.values()):
            courier.let_go()

    @property
    def _is_done(self) -> bool:
        return all(line.is_done for line in self._lines())

    def _lines(self) -> list[_Line]:
        return [self._home, *(courier.line for courier in list(self._couriers.values()))]

    def _wake_couriers(self) -> None:
        for courier in list(self._couriers.values()):
            if not courier.line.is_empty:
                courier.wake()

    def _give_to_couriers(self, rest: Outbox) -> None:
        while rest:
            courier = self._courier_for(rest[0][0])
            rest = courier.line.add(rest)
            courier.wake()

    def _courier_for(self, layer: ChannelLayer) -> _Courier:
        with self._lock:
            courier = self._couriers.get(id(layer))
            if courier is None:
                courier = self._couriers[id(layer)] = _Courier(_Line(layer, self._stopping, self._facts))
                if self._is_last:
                    courier.line.hurry()
                    courier.let_go()
                for one in (self._home.layer, layer):
                    one.beside_others()
            return courier


def _full_name(item: Outgoing) -> str:
    """A name to keep order by; no channel is called like that of a group."""
    return f"group {item.target}" if item.group else item.target
