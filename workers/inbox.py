"""The channel on which a worker process is spoken to: one reader, whoever in the process it is for."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import random
import threading
from collections.abc import Callable
from typing import Any

from channel_layer.delivery import Delivery
from channel_layer.exceptions import LayerUnavailable

from .event_loop import EventLoop

logger = logging.getLogger(__name__)

PATTERN = "worker.!"
BATCH = 512
WAIT_SECONDS = 2.0
FIRST_RETRY, LAST_RETRY = 0.05, 1.0

Deliver = Callable[[dict[str, Any], dict[str, Any] | None], None]
"""Takes a message's content and headers. Called on the event loop; must be quick."""


class Address:
    """A channel of this process, as long as somebody listens to it.

    Attributes:
        channel: its full name, to be given to others.
    """

    __slots__ = ("_inbox", "_local", "channel")

    def __init__(self, inbox: Inbox, reader: str, local: str) -> None:
        self._inbox = inbox
        self._local = local
        self.channel = reader + local

    def close(self) -> None:
        """Listen no more."""
        self._inbox._listeners.pop(self._local, None)


class Inbox:
    """Receives for one process-specific channel, and hands each message to those who have its address.

    Nothing is received before the first address is given out; then one task on the event loop receives for all of
    them, through every outage of the layer, until the loop ends. What is for nobody is dropped.
    Thread-safe.

    Args:
        layer: the worker's layer.
        loop: the worker's event loop.
    """

    def __init__(self, layer: Any, loop: EventLoop) -> None:
        self._layer = layer
        self._loop = loop
        self._lock = threading.Lock()
        self._listeners: dict[str, Deliver] = {}
        self._numbers = itertools.count(1)
        self._reader: str | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self, deliver: Deliver) -> Address:
        """A new address, whose messages ``deliver`` gets."""
        reader = self._reader or self._start()
        local = str(next(self._numbers))
        self._listeners[local] = deliver
        return Address(self, reader, local)

    def _start(self) -> str:
        with self._lock:
            if self._reader is None:
                # What lies in front of the "!" is what nobody must guess.
                _, _, secret = self._layer.new_channel(PATTERN).partition("!")
                self._reader = f"{PATTERN[:-1]}{secret}!"
                self._loop.get().call_soon_threadsafe(self._begin, self._reader)
            return self._reader

    def _begin(self, reader: str) -> None:
        # A context of its own: it belongs to nobody who opens an address.
        self._task = asyncio.get_running_loop().create_task(self._read(reader), context=contextvars.Context())

    async def _read(self, reader: str) -> None:
        retry = FIRST_RETRY
        while True:
            try:
                deliveries = await self._layer.areceive_many([reader], limit=BATCH, timeout=WAIT_SECONDS)
            except Exception as error:
                if retry == FIRST_RETRY:
                    unexpected = None if isinstance(error, LayerUnavailable) else error
                    logger.warning("nothing reaches %s: %s; trying again", reader, error, exc_info=unexpected)
                await asyncio.sleep(retry * random.uniform(0.75, 1.25))
                retry = min(LAST_RETRY, retry * 2)
                continue
            if retry != FIRST_RETRY:
                logger.warning("%s can be reached again", reader)
                retry = FIRST_RETRY
            for delivery in deliveries:
                self._hand_out(delivery, len(reader))

    def _hand_out(self, delivery: Delivery, start: int) -> None:
        locals_ = (delivery.channel[start:],) if delivery.members is None else delivery.members
        for local in locals_:
            deliver = self._listeners.get(local)
            if deliver is None:
                continue
            try:
                deliver(delivery.message, delivery.headers)
            except Exception:
                logger.exception("a message for %s could not be handled", delivery.channel)
