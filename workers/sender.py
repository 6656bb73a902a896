"""Sending what consumers collected, many consumers' worth in one write."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from channel_layer.delivery import Outgoing
from channel_layer.exceptions import ChannelLayerError, LayerUnavailable
from channel_layer.outbox import Outbox

logger = logging.getLogger(__name__)

MOST_ITEMS = 64
MOST_BYTES = 262_144
FULL_SECONDS = 5.0
"""How long a reply to a full channel is tried again before it is dropped."""

AWAY_SECONDS = 30.0
"""How long sends wait for a layer that cannot be reached and has surely got nothing."""


class Sender:
    """Collects the sends of finished consumers and flushes them.

    Thread-safe. What one consumer sent stays in order; so do the consumers of one thread.

    Args:
        stopping: tells whether the worker stops, so that waiting for a full channel ends sooner.
    """

    def __init__(self, stopping: Callable[[], bool]) -> None:
        self._stopping = stopping
        self._lock = threading.Lock()
        self._pending: Outbox = []
        self._bytes = 0

    def add(self, outbox: Outbox) -> None:
        """Take over what a consumer sent; flushes when much has gathered."""
        with self._lock:
            self._pending += outbox
            for _, item in outbox:
                self._bytes += len(item.body)
            much = len(self._pending) >= MOST_ITEMS or self._bytes >= MOST_BYTES
        if much:
            self.flush()

    def flush(self) -> None:
        """Send everything collected so far. Blocks; never raises for what the layer did with it."""
        with self._lock:
            pending, self._pending, self._bytes = self._pending, [], 0
        while pending:
            layer = pending[0][0]
            rest = [pair for pair in pending if pair[0] is not layer]
            self._send(layer, [item for owner, item in pending if owner is layer])
            pending = rest

    def _send(self, layer: Any, items: list[Outgoing]) -> None:
        """Send to one layer, waiting for full channels and for a layer that is away."""
        started = time.monotonic()
        pause = 0.005
        while items:
            patience = FULL_SECONDS
            try:
                items = layer.send_many(items)
                reason = "the channel is full"
            except LayerUnavailable as error:
                if error.uncertain:
                    logger.error("%d messages may be lost: %s", len(items), error)
                    return
                reason, patience = str(error), AWAY_SECONDS
            except ChannelLayerError as error:
                logger.error("%d messages dropped: %s", len(items), error)
                return
            waited = time.monotonic() - started
            if items and (waited > patience or (self._stopping() and waited > 1.0)):
                names = sorted({item.target for item in items})
                logger.error("%d messages to %s dropped: %s", len(items), ", ".join(names[:5]), reason)
                return
            if items:
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, 0.5)
