"""Messages of this process that may still wait on their channels.

A channel is read in order. So what was stored before the oldest message that waits on it has been taken by a worker,
or has expired. The layer is asked for that message's age only while a connection has been waiting for seconds
(`ChannelLayer.aoldest_age`), once for all of them.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple

from channel_layer.exceptions import LayerUnavailable
from channel_layer.layer import ChannelLayer

logger = logging.getLogger("interface_server.backlog")

SLACK_SECONDS = 2.0
"""Tolerance for the age of a message: senders may stamp large ones a second too early or too late."""

PRECISION_SECONDS = 0.002
"""Drift of two clocks between two questions."""


class Front(NamedTuple):
    """The oldest message of a channel. All times are the event loop's.

    Attributes:
        asked: when the layer was asked.
        stored: when it was stored; what was stored before has been taken. ``asked`` if nothing waits, infinity if the
            layer cannot tell.
        stored_by: the latest time at which it may have been stored, since an answer takes a moment.
        since: when the layer was first asked and gave this message.
    """

    asked: float
    stored: float
    stored_by: float
    since: float

    def may_wait(self, stored_at: float) -> bool:
        """True if a message stored at that time may have been behind this one when the layer was asked."""
        return stored_at >= self.stored - (SLACK_SECONDS if self.stored < self.asked else 0.0)

    def is_same(self, other: Front) -> bool:
        """True if both may be the same message."""
        first, second = sorted((self, other), key=lambda front: front.stored)
        return second.stored <= first.stored_by + PRECISION_SECONDS


class Backlog:
    """Asks the layer about channels. Belongs to one event loop.

    Args:
        layer: any channel layer.
    """

    def __init__(self, layer: ChannelLayer) -> None:
        self._layer = layer
        self._wanted: set[str] = set()
        self._fronts: dict[str, Front] = {}
        self._inquiry: asyncio.Task[None] | None = None

    def front(self, channel: str, since: float) -> Front | None:
        """The layer's last answer, if it was asked after ``since``. In any case `ask` asks again."""
        self._wanted.add(channel)
        found = self._fronts.get(channel)
        return found if found is not None and found.asked > since else None

    def is_deserted(self, channel: str, stored_at: float, seconds: float) -> bool:
        """True if a message may still wait on a channel off which no worker has taken a message for so many seconds."""
        front = self.front(channel, stored_at)
        return front is not None and front.may_wait(stored_at) and front.asked - front.since >= seconds

    def ask(self) -> None:
        """Begin to ask about the channels for which `front` was called meanwhile, unless that is under way already."""
        if self._wanted and (self._inquiry is None or self._inquiry.done()):
            wanted, self._wanted = self._wanted, set()
            self._inquiry = asyncio.get_running_loop().create_task(self._inquire(wanted))

    def close(self) -> None:
        """Give up an inquiry that is under way."""
        if self._inquiry is not None:
            self._inquiry.cancel()

    async def _inquire(self, channels: set[str]) -> None:
        loop = asyncio.get_running_loop()
        for channel in channels:
            asked = loop.time()
            try:
                age = await self._layer.aoldest_age(channel)
            except LayerUnavailable as error:
                logger.debug("nothing is known about %s: %s", channel, error)
                return
            except Exception:
                logger.exception("the channel layer could not be asked about %s", channel)
                age = None
            age = float("-inf") if age is None else age
            front, before = Front(asked, asked - age, loop.time() - age, asked), self._fronts.get(channel)
            if before is not None and front.stored < asked and front.is_same(before):
                front = front._replace(since=before.since)
            self._fronts[channel] = front
