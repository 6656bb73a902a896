"""Sending and then receiving, for a receiver that answers: the two travel together where a layer can do that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .delivery import Delivery, Outgoing
from .exceptions import LayerUnavailable

if TYPE_CHECKING:
    from .layer import ChannelLayer

Sent = Callable[[list[Outgoing], LayerUnavailable | None], None]
"""Told what became of the sending: what was refused, or the error, as `send_batch` returns and raises them;
`channel_layer.outcome.fates` makes of it the fate of each message."""


class Exchange:
    """Messages on their way, and a receive behind them; made by `ChannelLayer.begin_exchange`.

    This form does one after the other, which is right for every layer. Used by one thread.
    """

    def __init__(
        self, layer: ChannelLayer, items: Sequence[Outgoing], channels: Sequence[str], limit: int, timeout: float
    ) -> None:
        self._layer = layer
        self._receiving = (channels, limit, timeout)
        self._refused: list[Outgoing] = []
        self._error: LayerUnavailable | None = None
        try:
            self._refused = layer.send_batch(items)
        except LayerUnavailable as error:
            self._error = error

    def finish(self, sent: Sent) -> list[Delivery]:
        """Wait for the outcome of both. To be called once.

        Args:
            sent: called in this thread, once, before this returns or raises; must not raise. If something
                was refused or failed it is called as soon as that is known, otherwise perhaps only
                when the waiting for messages is over.

        Returns:
            What `ChannelLayer.receive_batch` would return.

        Raises:
            LayerUnavailable: receiving failed.
        """
        sent(self._refused, self._error)
        return self._layer.receive_batch(*self._receiving)
