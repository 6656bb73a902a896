"""Notices to the senders of messages that a slow consumer is at work on them."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable

from channel_layer.codec import EMPTY
from channel_layer.delivery import Delivery, Headers, Outgoing
from channel_layer.exceptions import ChannelLayerError
from channel_layer.layer import ChannelLayer
from channel_layer.names import check_channel

logger = logging.getLogger(__name__)

NOTICE_SECONDS = 1.0
"""The time a consumer may run before the sender of its message is told that somebody is at work on it."""

Running = tuple[float, Delivery, object]
"""A consumer that runs: its start (`time.perf_counter`), its message, and the reply channel that this named then."""


class Notices:
    """Send one notice for each consumer of a message with a turn that runs for `NOTICE_SECONDS`.

    An interface server cannot know otherwise whether a message still waits, or its worker was killed with it. Quick
    consumers cost nothing. Used by one thread.

    Args:
        layer: the layer that the messages come from.
        send: takes over a message to a layer without waiting for anything.
        worker: name of this process.
        consumer_of: gives the name of the consumer of a message.
    """

    def __init__(
        self,
        layer: ChannelLayer,
        send: Callable[[ChannelLayer, Outgoing], None],
        worker: str,
        consumer_of: Callable[[Delivery], str],
    ) -> None:
        self._layer = layer
        self._send = send
        self._worker = worker
        self._consumer_of = consumer_of
        self._told: set[Delivery] = set()

    def look(self, running: Iterable[Running]) -> None:
        """Send the notices that are due, given all consumers that are running."""
        now = time.perf_counter()
        slow = {
            delivery: (now - started, reply) for started, delivery, reply in running if now - started > NOTICE_SECONDS
        }
        for delivery in slow.keys() - self._told:
            self._tell(delivery, *slow[delivery])
        self._told = set(slow)

    def _tell(self, delivery: Delivery, seconds: float, reply: object) -> None:
        turn = (delivery.headers or {}).get("turn")
        if turn is None or reply is None:
            return
        try:
            headers: Headers = {"begun": turn, "seconds": seconds, "worker": self._worker}
            with contextlib.suppress(Exception):  # the consumer may have changed the message, and operators alone ask
                headers["consumer"] = self._consumer_of(delivery)
            item = Outgoing(check_channel(reply), EMPTY, headers)
        except ChannelLayerError as error:
            logger.error("a sender cannot be told that its message is being dealt with: %s", error)
        else:
            self._send(self._layer, item)
