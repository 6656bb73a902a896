"""The outcome of one batch of sends over all servers. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..delivery import Outgoing
from ..exceptions import LayerUnavailable
from ..layer import Counters
from .plan import SendPlan


class Sending:
    """Gathers refusals and failures, server by server.

    Args:
        plan: what is sent.
        counters: where possible losses and full group readers are counted.
    """

    def __init__(self, plan: SendPlan, counters: Counters) -> None:
        self._plan = plan
        self._counters = counters
        self._refused: list[Outgoing] = []
        self._failure: LayerUnavailable | None = None
        self._any_sent = False
        self._answered: list[int] = []

    @contextmanager
    def to(self, shard: int) -> Iterator[None]:
        """Surround the sending to one server; a failure is kept for `finish`."""
        try:
            yield
        except LayerUnavailable as error:
            self.failed(shard, error)

    def failed(self, shard: int, error: LayerUnavailable) -> None:
        """Sending to one server failed."""
        self._failure = error
        if error.uncertain:
            self._any_sent = True
            self._counters.possible_losses += self._plan.size(shard)

    def answered(self, shard: int, replies: Sequence[Any]) -> None:
        """A server's replies have come."""
        self._any_sent = True
        self._answered.append(shard)
        refused, group_full = self._plan.finish(shard, replies)
        self._refused += refused
        self._counters.group_full += group_full

    def stored(self, pairs: Sequence[tuple[Outgoing, Outgoing]]) -> list[Outgoing]:
        """The second of each pair whose first was surely stored."""
        stored = {id(item) for shard in self._answered for item in self._plan.messages(shard)}
        stored.difference_update(map(id, self._refused))
        return [follower for item, follower in pairs if id(item) in stored]

    def finish(self) -> list[Outgoing]:
        """The refused items.

        Raises:
            LayerUnavailable: a server failed. It is certain that nothing was sent only if no server
                got anything: whoever sends the batch again would otherwise send parts of it twice.
        """
        failure = self._failure
        if failure is not None:
            raise LayerUnavailable(failure.where, failure.reason, uncertain=self._any_sent) from failure
        return self._refused
