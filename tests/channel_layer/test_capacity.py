"""Which capacity a channel has."""

from __future__ import annotations

import re
from typing import Any

import pytest

from channel_layer.capacity import BODY_CAPACITY, CapacityRules
from channel_layer.exceptions import LayerConfigurationError


def test_the_first_rule_that_matches_wins() -> None:
    rules = CapacityRules(10, {"http.request": 1, "http.*": 2, re.compile(r"ws\."): 3, "*": 4})
    found = [rules.of(name) for name in ("http.request", "http.response", "ws.receive", "xws.", "other")]
    assert found == [1, 2, 3, 4, 4]


def test_without_a_rule_the_default_counts() -> None:
    assert CapacityRules(10).of("anything") == 10
    assert CapacityRules(10, {"some": 1}).of("something") == 10


def test_process_channels_are_looked_up_by_what_is_read() -> None:
    rules = CapacityRules(10, {"daphne.*!": 5})
    assert rules.of("daphne.x!local") == 5
    assert rules.of_reader("daphne.x!") == 5


def test_a_glob_is_matched_whole_and_a_regular_expression_from_the_start() -> None:
    assert CapacityRules(10, {"http": 1}).of("http.request") == 10
    assert CapacityRules(10, {re.compile("http"): 1}).of("http.request") == 1
    assert CapacityRules(10, {re.compile("request"): 1}).of("http.request") == 10


def test_request_bodies_are_held_back_unless_a_rule_says_otherwise() -> None:
    assert CapacityRules(10_000).of("http.request.body?abc") == BODY_CAPACITY
    assert CapacityRules(10_000, {"http.request.body?*": 99}).of("http.request.body?abc") == 99


@pytest.mark.parametrize("capacity", [0, -1, 1.5, "100", None, True])
def test_a_capacity_that_cannot_work_is_refused_with_its_name(capacity: Any) -> None:
    with pytest.raises(LayerConfigurationError, match=f"capacity must be a whole number.*{re.escape(repr(capacity))}"):
        CapacityRules(capacity)
    with pytest.raises(LayerConfigurationError, match=r"channel_capacity\['room'\] must be a whole number"):
        CapacityRules(10, {"room": capacity})


def test_a_rule_that_is_no_pattern_is_refused() -> None:
    with pytest.raises(LayerConfigurationError, match="channel_capacity key 7 must be"):
        CapacityRules(10, {7: 1})  # type: ignore[dict-item]
