"""Sending, and waiting for messages behind it, in one round trip."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..delivery import Delivery
from ..exceptions import LayerUnavailable
from ..exchange import Exchange, Sent
from .scripts import Call, Reply
from .sending import Sending
from .sync_driver import SyncConnection, SyncDriver

Receive = Callable[[Callable[[], list[Reply]]], list[Delivery]]
"""Makes deliveries of the replies to a pop, which it gets by a call."""


class RedisExchange(Exchange):
    """A push and a blocking pop in one pipeline, on one server.

    Otherwise a worker that is not busy would be woken for the push's answer only to go to sleep again,
    and Redis for the pop: half of what an answer to a single message costs either of them.

    Args:
        driver: of the server's layer.
        shard: the server.
        pushes: what is sent.
        sending: takes down what became of that.
        pops: what waits.
        receive: see `Receive`.
    """

    def __init__(
        self,
        driver: SyncDriver,
        shard: int,
        pushes: Sequence[Call],
        sending: Sending,
        pops: Sequence[Call],
        receive: Receive,
    ) -> None:
        self._driver = driver
        self._shard = shard
        self._pushes = pushes
        self._sending = sending
        self._receive = receive
        self._connection: SyncConnection | None = None
        self._failure: LayerUnavailable | None = None
        try:
            self._connection = driver.begin_behind(shard, pushes, pops)
        except LayerUnavailable as error:
            self._failure = error

    def finish(self, sent: Sent) -> list[Delivery]:
        """See `Exchange.finish`."""
        return self._receive(lambda: self._replies(sent))

    def _replies(self, sent: Sent) -> list[Reply]:
        """The replies to the pops, after those to the pushes."""
        try:
            replies = self._first_replies()
        except LayerUnavailable as error:
            self._sending.failed(self._shard, error)
            self._tell(sent)
            raise
        self._sending.answered(self._shard, replies)
        self._tell(sent)
        assert self._connection is not None
        return self._driver.last_replies(self._connection)

    def _first_replies(self) -> list[Reply]:
        if self._connection is None:
            assert self._failure is not None
            raise self._failure
        return self._driver.first_replies(self._connection, self._pushes)

    def _tell(self, sent: Sent) -> None:
        try:
            refused = self._sending.finish()
        except LayerUnavailable as error:
            sent([], error)
        else:
            sent(refused, None)
