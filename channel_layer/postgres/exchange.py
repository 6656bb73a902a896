"""Storing messages, and taking others behind them, in one transaction."""

from __future__ import annotations

from collections.abc import Callable

from ..delivery import Delivery, Outgoing
from ..exceptions import LayerUnavailable
from ..exchange import Exchange, Sent


class PostgresExchange(Exchange):
    """A send whose answer brings what can be taken by then.

    Otherwise a worker that has answered would go to the database once more only to find that nothing is there.

    Args:
        send_and_take: what was refused, and deliveries; blocks.
        receive: waits for deliveries if there were none; ``None`` if nothing is to be waited for.
    """

    def __init__(
        self,
        send_and_take: Callable[[], tuple[list[Outgoing], list[Delivery]]],
        receive: Callable[[], list[Delivery]] | None,
    ) -> None:
        self._receive = receive
        self._refused: list[Outgoing] = []
        self._deliveries: list[Delivery] = []
        self._error: LayerUnavailable | None = None
        try:
            self._refused, self._deliveries = send_and_take()
        except LayerUnavailable as error:
            self._error = error

    def finish(self, sent: Sent) -> list[Delivery]:
        """See `Exchange.finish`. The two fail together."""
        sent(self._refused, self._error)
        if self._error is not None:
            raise self._error
        return self._deliveries if self._deliveries or self._receive is None else self._receive()
