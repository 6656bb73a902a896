"""The channel of a worker process: one reader for all in the process that expect answers or reports."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from channel_layer.backoff import Backoff
from channel_layer.codec import EMPTY
from channel_layer.delivery import Delivery, Headers, Message, Outgoing
from channel_layer.exceptions import LayerUnavailable, clause
from channel_layer.layer import ChannelLayer

from .event_loop import EventLoop

logger = logging.getLogger(__name__)

PATTERN = "worker.!"
BATCH = 512
WAIT_SECONDS = 2.0
FIRST_RETRY, LAST_RETRY = 0.05, 1.0

ASK_SECONDS = 30.0
"""The silence after which a peer is asked for a heartbeat, which is also one of this worker's."""

LOST_SECONDS = 100.0
"""The silence after which a peer is gone."""

Deliver = Callable[[Message, Headers | None], Iterator[None] | None]
"""Called with a message's content and headers, on the event loop; must be quick. One that has much to do with a message
returns an iterator over its parts: the event loop does other work between them, and hands out no other message."""


class Listener(ABC):
    """The receiver of what is sent to one channel of this process, until it is closed."""

    __slots__ = ("_inbox", "_local")

    _inbox: Inbox
    _local: str

    @property
    def channel(self) -> str:
        """The full name of the channel, to be given to others."""
        return self._inbox.reader + self._local

    @abstractmethod
    def deliver(self, message: Message, headers: Headers | None) -> Iterator[None] | None:
        """Take a message; see `Deliver`."""

    def close(self) -> None:
        """Listen no more."""
        self._inbox._listeners.pop(self._local, None)


class Address(Listener):
    """A `Listener` that calls a function with each message.

    Attributes:
        peer: name of the channel of the peer that knows this one, if the inbox is to see whether that is still there.
        heard: the time of the peer's last message, by `time.monotonic`.
    """

    __slots__ = ("_deliver", "heard", "peer")

    def __init__(self, deliver: Deliver, peer: str | None) -> None:
        self._deliver = deliver
        self.peer = peer
        self.heard = time.monotonic()

    def deliver(self, message: Message, headers: Headers | None) -> Iterator[None] | None:
        """See `Listener.deliver`."""
        return self._deliver(message, headers)


class Inbox:
    """Receive for one process-specific channel, and pass each message on to its `Listener`.

    Nothing is received before the first one enters; then one task on the event loop receives for all of
    them, through every outage of the layer, until the loop ends. A message to a closed one is dropped. A peer that
    is silent is asked for a heartbeat. One that gives none is gone: ``closed`` is delivered, as if it had sent that.
    Thread-safe.

    Args:
        layer: the worker's layer.
        loop: the worker's event loop.
        name: of the process, which is hard to guess; a new one if it is not given.

    Attributes:
        received: the number of messages so far.
        regained: how often it has begun to receive again after it could not.
    """

    def __init__(self, layer: ChannelLayer, loop: EventLoop, name: str | None = None) -> None:
        self.received = self.regained = 0
        self._name = name
        self._layer = layer
        self._loop = loop
        self._lock = threading.Lock()
        self._listeners: dict[str, Listener] = {}
        self._begun: list[Iterator[None]] = []
        self._numbers = itertools.count(1)
        self._reader: str | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def reader(self) -> str:
        """Prefix of the names of all channels of this process."""
        return self._reader or self._start()

    def open(self, deliver: Deliver, peer: str | None = None, local: str | None = None) -> Address:
        """Make a new address; see `Address`. With ``local`` it has a name that others know beforehand."""
        address = Address(deliver, peer)
        self.enter(address, local)
        return address

    def enter(self, listener: Listener, local: str | None = None) -> None:
        """Pass messages on to a listener from now on; see `open`."""
        if self._reader is None:
            self._start()
        listener._inbox, listener._local = self, local or str(next(self._numbers))
        self._listeners[listener._local] = listener

    def find(self, local: str) -> Listener | None:
        """The listener with a local part."""
        return self._listeners.get(local)

    def _start(self) -> str:
        with self._lock:
            if self._reader is None:
                if self._name is None:
                    # The part in front of the "!" is the secret one.
                    _, _, secret = self._layer.new_channel(PATTERN).partition("!")
                    self._name = f"{PATTERN[:-1]}{secret}"
                self._reader = f"{self._name}!"
                self._loop.get().call_soon_threadsafe(self._begin, self._reader)
            return self._reader

    def _begin(self, reader: str) -> None:
        # A context of its own: it belongs to nobody who opens an address.
        self._task = asyncio.get_running_loop().create_task(self._read(reader), context=contextvars.Context())

    async def _read(self, reader: str) -> None:
        backoff = Backoff(FIRST_RETRY, LAST_RETRY)
        look_at = time.monotonic()
        while True:
            try:
                deliveries = await self._layer.areceive_batch([reader], limit=BATCH, timeout=WAIT_SECONDS)
            except Exception as error:
                if backoff.fresh:
                    unexpected = None if isinstance(error, LayerUnavailable) else error
                    logger.warning("nothing reaches %s: %s; trying again", reader, clause(error), exc_info=unexpected)
                await asyncio.sleep(backoff.next())
                continue
            if not backoff.fresh:
                logger.warning("%s can be reached again", reader)
                backoff.reset()
                self.regained += 1
                for address in self._addresses():
                    address.heard = time.monotonic()  # until now nobody could say anything
            self.received += len(deliveries)
            for delivery in deliveries:
                self._hand_out(delivery, len(reader))
                if self._begun:
                    await self._finish()
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + ASK_SECONDS / 4
                await self._look_after_peers()
                await self._finish()

    async def _look_after_peers(self) -> None:
        now = time.monotonic()
        questions: list[Outgoing] = []
        for address in self._addresses():
            silent = now - address.heard
            if address.peer is None or silent < ASK_SECONDS:
                continue
            if silent >= LOST_SECONDS:
                logger.warning("%s has given no heartbeat for %.3g s", address.peer, silent)
                self._give(address, {"closed": True}, None)
            else:
                questions.append(Outgoing(address.peer, EMPTY, {"flow": address.channel}))
        if questions:
            try:
                await self._layer.asend_batch(questions)
            except Exception as error:
                logger.debug("asking for heartbeats failed: %s", error)  # receiving says it aloud

    def _addresses(self) -> list[Address]:
        return [listener for listener in list(self._listeners.values()) if isinstance(listener, Address)]

    def _hand_out(self, delivery: Delivery, start: int) -> None:
        locals_ = (delivery.channel[start:],) if delivery.members is None else delivery.members
        for local in locals_:
            listener = self._listeners.get(local)
            if listener is not None:
                if type(listener) is Address:
                    listener.heard = time.monotonic()
                self._give(listener, delivery.message, delivery.headers)

    def _give(self, listener: Listener, message: Message, headers: Headers | None) -> None:
        try:
            parts = listener.deliver(message, headers)
        except Exception:
            logger.exception("a message for %s could not be handled", listener.channel)
        else:
            if parts is not None:
                self._begun.append(parts)

    async def _finish(self) -> None:
        """Do what is left of the messages that were begun, in their order."""
        while self._begun:
            try:
                for _ in self._begun.pop(0):
                    await asyncio.sleep(0)
            except Exception:
                logger.exception("a message could not be handled to its end")
