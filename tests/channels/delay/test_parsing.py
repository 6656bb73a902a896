"""Checking what comes on ``asgi.delay``."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from channel_layer.memory import MemoryChannelLayer
from channels.delay.parsing import BadRequest, parse, remaining

GOOD: dict[str, Any] = {"channel": "later", "content": {"a": [1, "é\x00"]}, "delay": 1000}


def complaint(**changes: Any) -> str:
    content = {name: value for name, value in (GOOD | changes).items() if value is not ...}
    with pytest.raises(BadRequest) as caught:
        parse(content, MemoryChannelLayer(max_message_size=1000))
    return str(caught.value)


def test_a_good_message_becomes_a_row() -> None:
    row = parse(GOOD, MemoryChannelLayer())
    assert row.channel_name == "later"
    assert json.loads(row.content) == GOOD["content"]
    assert timedelta(0) < row.due_date - timezone.now() <= timedelta(seconds=1)


@pytest.mark.parametrize("delay", [0, 0.5, 10**9])
def test_any_number_from_0_on_is_a_delay(delay: float) -> None:
    assert parse(GOOD | {"delay": delay}, MemoryChannelLayer()).due_date


@pytest.mark.parametrize("key", ["channel", "content", "delay"])
def test_a_missing_key_is_named(key: str) -> None:
    assert complaint(**{key: ...}).startswith(f"the key {key!r} is missing")


@pytest.mark.parametrize("delay", ["100", None, True, [1], float("nan"), float("inf")])
def test_a_delay_is_a_number(delay: Any) -> None:
    assert complaint(delay=delay) == f"'delay' is {delay!r}, it must be a number of milliseconds"


def test_a_delay_is_not_negative() -> None:
    assert complaint(delay=-1) == "'delay' is -1, it must be 0 or more milliseconds"


@pytest.mark.parametrize("delay", [1e300, 2**63])
def test_a_delay_beyond_the_calendar_is_refused(delay: float) -> None:
    assert complaint(delay=delay).endswith("which is too long")


@pytest.mark.parametrize("content", [None, "text", [1], 5])
def test_content_is_a_dict(content: Any) -> None:
    assert complaint(content=content) == f"'content' is {type(content).__name__}, it must be a dict"


def test_content_that_json_cannot_hold_is_refused() -> None:
    text = complaint(content={"picture": b"\x89PNG"})
    assert text.startswith("'content' for 'later' cannot be stored: ")
    assert text.endswith("It is kept as JSON, which has no bytes")


@pytest.mark.parametrize("channel", ["", "no spaces", None, 5, "a!b!c", b"later"])
def test_a_channel_has_a_channels_name(channel: Any) -> None:
    assert complaint(channel=channel).startswith(f"invalid channel name {channel!r}")


def test_content_that_the_layer_could_not_carry_is_refused() -> None:
    assert "is too large" in complaint(content={"text": "x" * 2000})


def test_what_is_left_of_a_row_makes_the_row_again() -> None:
    layer = MemoryChannelLayer()
    left = remaining(parse(GOOD, layer))
    assert (left["channel"], left["content"]) == ("later", GOOD["content"])
    assert 0 < left["delay"] <= 1000
    assert remaining(parse(GOOD | {"delay": 0}, layer))["delay"] == 0.0
