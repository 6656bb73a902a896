"""Rules of capacity: what fits onto a channel, and the refusal of more."""

from __future__ import annotations

import re

import pytest

from ..exceptions import ChannelFull
from ..layer import ChannelLayer
from .tools import MakeLayer, Tools, numbers


class CapacityRules(Tools):
    """ASGI 1 draft, "Capacity"."""

    def test_a_full_channel_refuses_and_takes_again_when_it_was_read(self, make_layer: MakeLayer) -> None:
        layer = make_layer(capacity=3)
        for n in range(3):
            layer.send("small", {"n": n})
        with pytest.raises(ChannelFull, match="'small'"):
            layer.send("small", {"n": 99})
        with pytest.raises(layer.ChannelFull):
            layer.send("small", {"n": 99})
        layer.send("another", {"n": 0})
        assert numbers(self.take(layer, "small")) == [0]
        layer.send("small", {"n": 3})
        assert numbers(self.take(layer, "small", count=3)) == [1, 2, 3]
        assert self.nothing(layer, "small")

    def test_the_channels_of_a_process_share_one_capacity(self, make_layer: MakeLayer) -> None:
        layer = make_layer(capacity=2)
        layer.send("process!a", {"n": 0})
        layer.send("process!b", {"n": 1})
        with pytest.raises(ChannelFull):
            layer.send("process!c", {"n": 2})

    def test_what_has_expired_takes_no_room(self, make_layer: MakeLayer) -> None:
        layer = make_layer(capacity=1, expiry=1)
        layer.send("small", {"n": 1})
        self.wait(1.3)
        layer.send("small", {"n": 2})
        assert numbers(self.take(layer, "small")) == [2]

    def test_the_first_rule_that_matches_decides(self, make_layer: MakeLayer) -> None:
        layer = make_layer(
            capacity=5,
            channel_capacity={
                "exact.name": 1,
                "exact.*": 2,
                re.compile(r"regex\.[0-9]+"): 3,
                "*": 4,
            },
        )
        assert self._room(layer, "exact.name") == 1
        assert self._room(layer, "exact.other") == 2
        assert self._room(layer, "regex.42") == 3
        assert self._room(layer, "regex.x") == 4

    def test_without_a_matching_rule_the_default_decides(self, make_layer: MakeLayer) -> None:
        layer = make_layer(capacity=2, channel_capacity={"wide.*": 4, "process!": 3})
        assert self._room(layer, "narrow") == 2
        assert self._room(layer, "wide.one") == 4
        assert self._room(layer, "process!local") == 3

    def test_what_is_refused_from_a_batch_can_be_sent_later_in_order(self, make_layer: MakeLayer) -> None:
        layer = make_layer(capacity=2)
        full = [layer.prepare("small", {"n": n}, {"turn": n}) for n in range(5)]
        other = layer.prepare("another", {"n": 100})
        refused = layer.send_batch([*full[:4], other, full[4]])
        assert refused == full[2:]
        assert numbers(self.take(layer, "another")) == [100]
        assert numbers(self.take(layer, "small", count=2)) == [0, 1]
        assert layer.send_batch(refused) == [full[4]]
        assert numbers(self.take(layer, "small", count=2)) == [2, 3]
        assert layer.send_batch([full[4]]) == []
        [last] = self.take_many(layer, "small")
        assert (last.message, last.headers) == ({"n": 4}, {"turn": 4})

    def test_a_group_passes_over_a_full_member_and_counts_it(self, make_layer: MakeLayer) -> None:
        layer = make_layer(channel_capacity={"small": 1})
        layer.group_add("group", "small")
        layer.group_add("group", "wide")
        for n in range(3):
            layer.send_group("group", {"n": n})
        assert layer.send_batch([layer.prepare("group", {"n": 3}, group=True)]) == []
        assert numbers(self.take(layer, "wide", count=4)) == [0, 1, 2, 3]
        assert numbers(self.take(layer, "small")) == [0]
        assert self.nothing(layer, "small")
        assert layer.counters.group_full == 3

    @staticmethod
    def _room(layer: ChannelLayer, channel: str) -> int:
        return 10 - len(layer.send_batch([layer.prepare(channel, {"n": n}) for n in range(10)]))
