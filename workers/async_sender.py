"""Immediate sends of many coroutines: one write for all of them, and each learns the fate of its message."""

from __future__ import annotations

import asyncio
import contextvars

from channel_layer.delivery import Outgoing
from channel_layer.exceptions import ChannelFull, LayerUnavailable
from channel_layer.layer import ChannelLayer
from channel_layer.outcome import Fate, fates

from .batches import fitting


class AsyncSender:
    """Send messages in the order in which they come, over one connection however many coroutines send.

    For the coroutines of one event loop.

    Args:
        layer: where to.
    """

    def __init__(self, layer: ChannelLayer) -> None:
        self._layer = layer
        self._waiting: list[tuple[Outgoing, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def send(self, item: Outgoing) -> None:
        """Send one message. It is not sent if this is cancelled before the write.

        Raises:
            ChannelFull: its channel takes no more.
            LayerUnavailable: as `ChannelLayer.send_batch` for this message alone.
        """
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, sent))
        if self._task is None:
            # A context of its own: it does not end with the coroutine that happens to be the first.
            self._task = asyncio.get_running_loop().create_task(self._drain(), context=contextvars.Context())
        await sent

    async def _drain(self) -> None:
        try:
            while batch := self._next_batch():
                await self._send(batch)
        finally:
            self._task = None

    async def _send(self, batch: list[tuple[Outgoing, asyncio.Future[None]]]) -> None:
        items = [item for item, _ in batch]
        error: LayerUnavailable | None = None
        refused: list[Outgoing] = []
        try:
            refused = await self._layer.asend_batch(items)
        except LayerUnavailable as failure:
            error = failure
        except BaseException as failure:
            for _, sent in batch:
                if not sent.done():
                    sent.cancel() if isinstance(failure, asyncio.CancelledError) else sent.set_exception(failure)
            if not isinstance(failure, Exception):
                raise
            return
        for (item, sent), fate in zip(batch, fates(items, refused, error), strict=True):
            if sent.done():
                continue
            if fate is Fate.STORED:
                sent.set_result(None)
            elif fate is Fate.FULL:
                sent.set_exception(ChannelFull(item.target))
            else:
                assert error is not None
                sent.set_exception(own_part(error, fate))

    def _next_batch(self) -> list[tuple[Outgoing, asyncio.Future[None]]]:
        waiting = [(item, sent) for item, sent in self._waiting if not sent.cancelled()]
        count = fitting([item for item, _ in waiting])
        self._waiting = waiting[count:]
        return waiting[:count]


def own_part(error: LayerUnavailable, fate: Fate) -> LayerUnavailable:
    """The error of a batch, cut down to a message of that fate."""
    return type(error)(error.where, error.reason, fate is Fate.UNKNOWN, reachable=error.reachable)
