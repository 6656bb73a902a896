"""Helpers that the tests of the suite share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import pytest

from ..delivery import Delivery
from ..inspection import Waiting
from ..layer import ChannelLayer

MakeLayer = Callable[..., ChannelLayer]
"""Type of the fixture ``make_layer``."""

Taken = TypeVar("Taken", bound=tuple[str | None, Any] | Delivery | Waiting)

PATIENCE = 15.0
"""Seconds after which something that should have happened counts as missing. No measure of speed."""


class Tools:
    """Base class of the suite's parts: fixtures, and helpers that wait with a deadline.

    Attributes:
        elsewhere: options for ``make_layer`` that lead to another, separate store (for example
            ``{"prefix": "other:"}``), or ``None`` if the layer has no such thing.
        orders_groups: whether a message to a channel and one to a group that it is in, or messages to two such groups,
            arrive in the order in which one sender sent them. Those of one kind always do.
    """

    elsewhere: ClassVar[dict[str, Any] | None] = None
    orders_groups: ClassVar[bool] = True

    @pytest.fixture
    def layer(self, make_layer: MakeLayer) -> ChannelLayer:
        """A layer with its default options."""
        return make_layer()

    def wait(self, seconds: float) -> None:
        """Let time pass for the layers of this test; a layer with a clock to move overrides this."""
        time.sleep(seconds)

    def let_run(self, seconds: float) -> None:
        """Let time pass in which processes show that they live.

        Override this, too, if moving the clock in `wait` leaves their heartbeats behind.
        """
        self.wait(seconds)

    @staticmethod
    def take(layer: ChannelLayer, *channels: str, count: int = 1) -> list[tuple[str | None, Any]]:
        """Receive ``count`` messages one at a time, as (channel, message)."""
        taken: list[tuple[str | None, Any]] = []
        deadline = time.monotonic() + PATIENCE
        while len(taken) < count:
            assert time.monotonic() < deadline, f"{count} messages expected on {channels}, these came: {taken}"
            channel, message = layer.receive(channels, block=True)
            if channel is not None:
                taken.append((channel, message))
        return taken

    @staticmethod
    def take_many(layer: ChannelLayer, *channels: str, count: int = 1, limit: int = 10) -> list[Delivery]:
        """Receive ``count`` deliveries in batches of at most ``limit``."""
        taken: list[Delivery] = []
        deadline = time.monotonic() + PATIENCE
        while len(taken) < count:
            assert time.monotonic() < deadline, f"{count} deliveries expected on {channels}, these came: {taken}"
            taken += layer.receive_batch(channels, limit=min(limit, count - len(taken)), timeout=1)
        return taken

    def in_order(self, taken: Sequence[Taken]) -> list[Taken]:
        """Messages to a channel and to its groups, sorted by ``n`` if the layer does not promise their order."""
        if self.orders_groups:
            return list(taken)
        return sorted(taken, key=_number)

    @staticmethod
    def nothing(layer: ChannelLayer, *channels: str) -> bool:
        """Make sure that no message waits. Asks several times, as one answer may have been taken by
        what a layer tells itself in-band."""
        found = [layer.receive(channels) for _ in range(5)]
        assert found == [(None, None)] * 5, f"nothing expected on {channels}"
        return True


def numbers(taken: Sequence[Taken]) -> list[int]:
    """The ``n`` of each message, in order."""
    return [_number(item) for item in taken]


def _number(item: tuple[str | None, Any] | Delivery | Waiting) -> int:
    message: Any = item.message if isinstance(item, (Delivery, Waiting)) else item[1]
    return int(message["n"])
