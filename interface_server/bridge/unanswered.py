"""Reasons why a message got no answer in time, from the state of its channel."""

from __future__ import annotations

import asyncio
import logging

from channel_layer.exceptions import ChannelLayerError
from channel_layer.layer import ChannelLayer

from .backlog import SLACK_SECONDS

logger = logging.getLogger("interface_server.unanswered")

READING_SECONDS = 5.0
"""A channel on which a message waits for longer than this has no worker that keeps up."""


class Unanswered:
    """Logs that messages got no answer, with the reason. Belongs to one event loop.

    The layer is asked once for all messages of a channel that were reported since it was last asked.

    Args:
        layer: any channel layer.
    """

    def __init__(self, layer: ChannelLayer) -> None:
        self._layer = layer
        self._reports: dict[str, list[tuple[str, float]]] = {}
        self._task: asyncio.Task[None] | None = None

    def report(self, text: str, channel: str, waited: float) -> None:
        """Note that what the text says happened to a message that was sent so many seconds ago."""
        self._reports.setdefault(channel, []).append((text, waited))

    def ask(self) -> None:
        """Begin to ask about what was reported, unless that is under way already."""
        if self._reports and (self._task is None or self._task.done()):
            reports, self._reports = self._reports, {}
            self._task = asyncio.get_running_loop().create_task(self._tell(reports))

    def close(self) -> None:
        """Give up an inquiry that is under way."""
        if self._task is not None:
            self._task.cancel()

    async def _tell(self, reports: dict[str, list[tuple[str, float]]]) -> None:
        for channel, entries in reports.items():
            try:
                age = await self._layer.aoldest_age(channel)
            except ChannelLayerError:
                age = None
            for text, waited in entries:
                logger.warning("%s: %s", text, reason(channel, age, waited, self._layer))


def reason_now(channel: str, waited: float, layer: ChannelLayer) -> str:
    """Ask the layer and return advice, see `reason`; blocks."""
    try:
        age = layer.channel_statistics(channel).get("messages_max_age")
    except ChannelLayerError:
        age = None
    return reason(channel, age, waited, layer)


def reason(channel: str, age: float | None, waited: float, layer: ChannelLayer) -> str:
    """Advice for a message that got no answer.

    Args:
        channel: where it was sent.
        age: of the oldest message that waits there, 0 for none, ``None`` if nobody knows.
        waited: seconds since it was sent.
        layer: the layer.
    """
    if age is None:
        return f"the channel layer cannot say whether a worker takes messages from {channel}"
    if age >= min(waited - SLACK_SECONDS, READING_SECONDS):
        return (
            f"the oldest message on {channel} has waited for {age:.0f} s, so no worker listens there or all are busy; "
            "start one (python manage.py runworker), or more"
        )
    if waited >= getattr(layer, "expiry", 60):
        return f"none waits on {channel} now, but it expired meanwhile; see whether a worker runs, and its log"
    return f"a worker took its message from {channel}; see its log, and whether the consumer answers in every case"
