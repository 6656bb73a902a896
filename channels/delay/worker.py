"""The loop of ``rundelay``: store messages from ``asgi.delay``, and send them when they are due."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from datetime import datetime

from django.db import close_old_connections
from django.utils import timezone

from channel_layer.backoff import Backoff
from channel_layer.delivery import Outgoing
from channel_layer.exceptions import ChannelLayerError, LayerConfigurationError, LayerUnavailable
from channel_layer.layer import ChannelLayer
from channel_layer.outcome import Fate, fates

from . import store
from .models import DelayedMessage
from .parsing import CHANNEL, BadRequest, parse, remaining
from .stopping import Stopper

logger = logging.getLogger("channels.delay")

BATCH = 64
"""Most messages taken off the layer at once."""

CLAIM = 20
"""Most messages taken out of the database at once, and so the most that a killed process can lose."""

FULL_SECONDS = 1.0
"""Time for which nothing is sent to a channel that was full."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Back-off in seconds between attempts to reach a layer or a database that is away."""


class DelayWorker:
    """Keeps messages until they are due, and sends them.

    Several processes may run one each: a message is sent by one of them, at most once. Messages are
    sent in the order of their due times. Before `run` returns, every message that was taken off the layer
    is in the database or back on the layer.

    Args:
        channel_layer: the layer to receive from and send to.
        signal_handlers: stop on SIGTERM and SIGINT, if `run` is called in the main thread.
        database_sleep_duration: seconds after which to look for messages that other processes stored.
            Those stored by this one are sent when they are due.

    Attributes:
        termed: whether to stop; read once in each round.

    Raises:
        ValueError: ``database_sleep_duration`` is not above 0.
    """

    termed: object

    def __init__(
        self, channel_layer: ChannelLayer, signal_handlers: bool = True, database_sleep_duration: float = 1
    ) -> None:
        if not database_sleep_duration > 0:
            raise ValueError(f"database_sleep_duration must be above 0 seconds, not {database_sleep_duration!r}")
        self.channel_layer = channel_layer
        self.signal_handlers = signal_handlers
        self.database_sleep_duration = database_sleep_duration
        self.termed = False
        self._stopper: Stopper | None = None
        self._unsaved: deque[DelayedMessage] = deque()
        self._full: dict[str, float] = {}
        self._away: dict[str, Backoff] = {}
        self._check_at = 0.0

    def run(self) -> None:
        """Work until `stop` is called or a signal arrives; blocks."""
        self._check_at = 0.0
        self._stopper = Stopper(self.channel_layer.interrupt, self._note_stop)
        with self._stopper.running(self.signal_handlers):
            try:
                while not self.termed:
                    self._round()
            finally:
                self._give_back()

    def stop(self) -> None:
        """Have `run` return soon; callable from any thread and from signal handlers."""
        if self._stopper is None:
            self._note_stop()
        else:
            self._stopper.stop()

    def _note_stop(self) -> None:
        self.termed = True

    def _round(self) -> None:
        close_old_connections()
        try:
            self._save_rest()
            self._receive(max(0.0, self._check_at - time.monotonic()))
            self._save_rest()
            if time.monotonic() >= self._check_at:
                self._send_due()
                self._plan_check()
        except store.DATABASE_AWAY as error:
            self._back_off("the database", error)
        except (LayerUnavailable, LayerConfigurationError) as error:
            self._back_off("the channel layer", error)
        else:
            for what in self._away:
                logger.warning("%s is back", what)
            self._away.clear()

    # -- from the layer into the database --------------------------------------------------------

    def _receive(self, timeout: float) -> None:
        for delivery in self.channel_layer.receive_batch([CHANNEL], BATCH, timeout):
            try:
                row = parse(delivery.message, self.channel_layer)
            except BadRequest as error:
                logger.error("a message on %s is skipped: %s", CHANNEL, error)
                continue
            logger.debug("a message for %s, due in %g ms", row.channel_name, delivery.message["delay"])
            self._unsaved.append(row)

    def _save_rest(self) -> None:
        if self._unsaved:
            rows = list(self._unsaved)
            store.save(rows)
            self._unsaved.clear()
            earliest = min(row.due_date for row in rows)
            self._check_at = min(self._check_at, time.monotonic() + _seconds_until(earliest))

    def _give_back(self) -> None:
        """Send what could not be stored back to the layer, for the next process."""
        try:
            self._save_rest()
        except store.DATABASE_AWAY:
            rows = list(self._unsaved)
            try:
                items = [self.channel_layer.prepare(CHANNEL, remaining(row)) for row in rows]
                refused = self.channel_layer.send_batch(items)
            except ChannelLayerError as error:
                lost_now = len(rows)
                if isinstance(error, LayerUnavailable):
                    lost_now -= fates(items, (), error).count(Fate.STORED)
                logger.error("%d delayed messages are lost: neither database nor layer took them: %s", lost_now, error)
            else:
                lost = f"; {len(refused)} of them are lost, {CHANNEL} is full" if refused else ""
                logger.warning("the database is away: %d messages went back to %s%s", len(rows), CHANNEL, lost)

    # -- from the database to the channels -------------------------------------------------------

    def _send_due(self) -> None:
        now = time.monotonic()
        self._full = {name: until for name, until in self._full.items() if until > now}
        while self._stopper is None or not self._stopper.stopping.is_set():
            rows = store.claim(CLAIM, self._full)
            try:
                self._send(rows)
            finally:
                self._save_rest()
            if len(rows) < CLAIM:
                break

    def _send(self, rows: list[DelayedMessage]) -> None:
        prepared: list[tuple[Outgoing, DelayedMessage]] = []
        for row in rows:
            try:
                prepared.append((self.channel_layer.prepare(row.channel_name, json.loads(row.content)), row))
            except (ValueError, ChannelLayerError) as error:
                logger.error("a delayed message for %s is dropped: %s", row.channel_name, error)
        failure: LayerUnavailable | None = None
        try:
            refused = self.channel_layer.send_batch([item for item, _ in prepared]) if prepared else []
        except LayerUnavailable as error:
            failure, refused = error, []
        found = fates([item for item, _ in prepared], refused, failure)
        unknown = found.count(Fate.UNKNOWN)
        if unknown:
            # They may have been sent; once more would perhaps be once too often.
            logger.error("%d delayed messages may be lost: %s", unknown, failure)
        for fate, (_, row) in zip(found, prepared, strict=True):
            if fate is Fate.STORED:
                logger.debug("sent a delayed message to %s", row.channel_name)
            elif fate is Fate.FULL:
                self._keep_for_later(row, "is full")
            elif fate is Fate.UNSENT and failure is not None and failure.reachable:
                self._keep_for_later(row, f"cannot be reached ({failure})")
            elif fate is Fate.UNSENT:
                self._unsaved.append(row)
        if failure is not None and not failure.reachable:
            raise failure

    def _keep_for_later(self, row: DelayedMessage, why: str) -> None:
        """Store a message of a channel that takes none again, with its due time, which keeps the order."""
        if row.channel_name not in self._full:
            logger.warning("channel %s %s; its delayed messages are sent later", row.channel_name, why)
        self._full[row.channel_name] = time.monotonic() + FULL_SECONDS
        self._unsaved.append(row)

    def _plan_check(self) -> None:
        now = time.monotonic()
        self._check_at = now + self.database_sleep_duration
        earliest = store.next_due(self._full)
        if earliest is not None:
            self._check_at = min(self._check_at, now + _seconds_until(earliest))
        if self._full:
            self._check_at = min(self._check_at, *self._full.values())

    # -- while something is away -----------------------------------------------------------------

    def _back_off(self, what: str, error: Exception) -> None:
        if what not in self._away:
            self._away[what] = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
            level = logging.ERROR if isinstance(error, LayerConfigurationError) else logging.WARNING
            logger.log(level, "%s is away (%s); trying again until it is back", what, error)
        pause = self._away[what].next()
        if self._stopper is not None:
            self._stopper.stopping.wait(pause)


Worker = DelayWorker
"""The name in Channels 1."""


def _seconds_until(moment: datetime) -> float:
    return max(0.0, float((moment - timezone.now()).total_seconds()))
