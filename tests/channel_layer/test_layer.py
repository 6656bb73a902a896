"""What the base class does for every layer."""

from __future__ import annotations

import math
from typing import Any

import pytest

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.memory import MemoryChannelLayer


@pytest.mark.parametrize("option", ["expiry", "group_expiry", "max_message_size"])
@pytest.mark.parametrize("value", [0, -1, "60", None, True, math.nan])
def test_an_option_that_cannot_work_is_refused_with_its_name(option: str, value: Any) -> None:
    with pytest.raises(LayerConfigurationError, match=f"{option} must be a number above 0"):
        MemoryChannelLayer(**{option: value})


def test_defaults_are_those_of_the_documentation() -> None:
    layer = MemoryChannelLayer()
    assert (layer.expiry, layer.group_expiry, layer.max_message_size) == (60, 86_400, 1_310_720)
    assert layer.capacity.of("room") == 10_000


def test_preparing_does_no_sending() -> None:
    layer = MemoryChannelLayer()
    item = layer.prepare("room", {"n": 1}, {"turn": 1})
    assert (item.target, item.headers, item.group) == ("room", {"turn": 1}, False)
    assert layer.receive(["room"]) == (None, None)


def test_the_single_form_hands_out_waiting_copies_only_to_who_asks_for_that_channel() -> None:
    layer = MemoryChannelLayer()
    layer.group_add("group", "process!a")
    layer.group_add("group", "process!b")
    layer.send_group("group", {"n": 1})
    layer.send("room", {"n": 2})
    first = layer.receive(["process!"])
    assert layer.receive(["room"]) == ("room", {"n": 2})
    second = layer.receive(["process!"])
    assert {first[0], second[0]} == {"process!a", "process!b"}
    assert layer.receive(["process!"]) == (None, None)


def test_a_flush_removes_copies_that_wait() -> None:
    layer = MemoryChannelLayer()
    layer.group_add("group", "process!a")
    layer.group_add("group", "process!b")
    layer.send_group("group", {"n": 1})
    layer.receive(["process!"])
    layer.flush()
    assert layer.receive(["process!"]) == (None, None)


def test_counters_start_at_zero_and_belong_to_one_layer() -> None:
    one, other = MemoryChannelLayer(), MemoryChannelLayer()
    one.counters.expired += 1
    assert vars(other.counters) == {"expired": 0, "bad_frames": 0, "possible_losses": 0, "group_full": 0}
