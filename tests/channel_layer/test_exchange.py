"""The form for every layer; its rules are in channel_layer.conformance."""

from __future__ import annotations

from typing import Any

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer


class Away(MemoryChannelLayer):
    def send_batch(self, items: Any) -> Any:
        raise LayerUnavailable("here", "away", uncertain=False)

    def receive_batch(self, *args: Any, **kwargs: Any) -> Any:
        raise LayerUnavailable("here", "still away", uncertain=False)


def test_both_sides_hear_of_a_layer_that_is_away() -> None:
    layer = Away()
    told: list[Any] = []
    exchange = layer.begin_exchange([layer.prepare("x", {})], ["y"])
    with pytest.raises(LayerUnavailable, match="still away"):
        exchange.finish(lambda refused, error: told.append((refused, str(error))))
    [(refused, error)] = told
    assert refused == []
    assert "still" not in error
