"""Sending and receiving in one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ..delivery import Outgoing
from ..exceptions import LayerUnavailable
from ..layer import ChannelLayer
from .tools import PATIENCE, MakeLayer, Tools, numbers


class Outcomes:
    """Keeps what an exchange says of its sending."""

    def __init__(self) -> None:
        self.told = threading.Event()
        self.refused: list[list[Outgoing]] = []
        self.errors: list[LayerUnavailable | None] = []

    def __call__(self, refused: list[Outgoing], error: LayerUnavailable | None) -> None:
        self.refused.append(refused)
        self.errors.append(error)
        self.told.set()


def items(layer: ChannelLayer, channel: str, *values: int) -> Sequence[Outgoing]:
    """Prepared messages."""
    return [layer.prepare(channel, {"n": value}) for value in values]


class ExchangeRules(Tools):
    """Rules of `begin_exchange`, for sending and for receiving."""

    def test_an_exchange_sends_and_receives(self, layer: ChannelLayer) -> None:
        layer.send("in", {"n": 1})
        outcomes = Outcomes()
        exchange = layer.begin_exchange(items(layer, "out", 2, 3), ["in", "in.other"], limit=5, timeout=PATIENCE)
        assert numbers(exchange.finish(outcomes)) == [1]
        assert (outcomes.refused, outcomes.errors) == ([[]], [None])
        assert numbers(self.take_many(layer, "out", count=2)) == [2, 3]

    def test_what_an_exchange_sends_is_there_while_it_waits(self, make_layer: MakeLayer) -> None:
        layer, other = make_layer(), make_layer()
        outcomes = Outcomes()

        def exchange() -> list[int]:
            begun = layer.begin_exchange(items(layer, "out", 1), ["in"], timeout=PATIENCE)
            return numbers(begun.finish(outcomes))

        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(exchange)
            assert numbers(self.take_many(other, "out")) == [1]
            other.send("in", {"n": 2})
            assert waiting.result() == [2]

    def test_an_exchange_without_a_message_for_it_ends_after_its_time(self, layer: ChannelLayer) -> None:
        outcomes = Outcomes()
        assert layer.begin_exchange(items(layer, "out", 1), ["in"], timeout=0.1).finish(outcomes) == []
        assert layer.begin_exchange(items(layer, "out", 2), ["in"]).finish(outcomes) == []
        assert outcomes.refused == [[], []]
        assert numbers(self.take_many(layer, "out", count=2)) == [1, 2]

    def test_an_exchange_tells_of_refused_messages_before_it_has_waited(self, make_layer: MakeLayer) -> None:
        layer, other = make_layer(channel_capacity={"full": 1}), make_layer()
        outcomes = Outcomes()
        sent = items(layer, "full", 1, 2, 3)

        def exchange() -> list[int]:
            return numbers(layer.begin_exchange(sent, ["in"], timeout=4 * PATIENCE).finish(outcomes))

        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(exchange)
            assert outcomes.told.wait(PATIENCE)
            assert [[id(item) for item in refused] for refused in outcomes.refused] == [[id(item) for item in sent[1:]]]
            other.send("in", {"n": 4})
            assert waiting.result() == [4]
        assert len(outcomes.refused) == 1

    def test_a_thread_does_other_things_between_exchanges(self, layer: ChannelLayer) -> None:
        for n in range(3):
            layer.send("in", {"n": n})
            outcomes = Outcomes()
            exchange = layer.begin_exchange(items(layer, "out", n), ["in"], timeout=PATIENCE)
            assert numbers(exchange.finish(outcomes)) == [n]
            layer.send("aside", {"n": n})
            layer.group_add("everybody", "aside")
            assert numbers(self.take_many(layer, "aside")) == [n]

    def test_an_exchange_sends_to_groups(self, layer: ChannelLayer) -> None:
        layer.group_add("everybody", "out")
        layer.send("in", {"n": 0})
        outcomes = Outcomes()
        sent = [layer.prepare("everybody", {"n": 1}, group=True), *items(layer, "out", 2)]
        assert numbers(layer.begin_exchange(sent, ["in"], timeout=PATIENCE).finish(outcomes)) == [0]
        assert numbers(self.in_order(self.take_many(layer, "out", count=2))) == [1, 2]
        assert outcomes.refused == [[]]
