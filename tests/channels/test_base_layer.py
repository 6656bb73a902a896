"""`channels.base_layer`: rules that layers for Channels 2 to 4 inherit."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from channels.base_layer import BaseChannelLayer

LAYER = BaseChannelLayer()


@pytest.mark.parametrize("name", ["a", "chat.room-1_2", "specific.x!abc", "specific.x!", "a" * 99])
def test_channel_names(name: str) -> None:
    assert LAYER.require_valid_channel_name(name) is True


@pytest.mark.parametrize("name", ["", "a b", "a!b!c", "!a", "ä", "a" * 100, b"a", None, 7])
def test_what_is_no_channel_name(name: Any) -> None:
    with pytest.raises(TypeError, match=r"^Channel name must be a valid unicode string with length < 100 "):
        LAYER.require_valid_channel_name(name)


def test_a_name_to_receive_from_ends_with_its_mark() -> None:
    assert LAYER.valid_channel_names(["a", "a!"], receive=True)
    with pytest.raises(TypeError, match="must end at the !"):
        LAYER.require_valid_channel_name("a!b", receive=True)


@pytest.mark.parametrize("name", ["a!b", "a b", "", "a" * 100, None])
def test_what_is_no_group_name(name: Any) -> None:
    assert LAYER.require_valid_group_name("chat_kitchen")
    with pytest.raises(TypeError, match=r"^Group name must be"):
        LAYER.require_valid_group_name(name)


def test_the_old_names_of_the_checks_warn() -> None:
    with pytest.warns(DeprecationWarning, match="use require_valid_channel_name instead"):
        assert LAYER.valid_channel_name("a")
    with pytest.warns(DeprecationWarning, match="use require_valid_group_name instead"):
        assert LAYER.valid_group_name("a")


def test_the_part_that_names_the_process() -> None:
    assert [LAYER.non_local_name(name) for name in ("a.b!c", "a.b!", "a.b")] == ["a.b!", "a.b!", "a.b"]


def test_the_first_rule_that_matches_gives_the_capacity() -> None:
    layer = BaseChannelLayer(capacity=7)
    layer.channel_capacity = layer.compile_capacities({"a*": 1, re.compile("ab|c"): 2})
    assert [layer.get_capacity(name) for name in ("ab", "c", "d")] == [1, 2, 7]


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("send", ("a", {})),
        ("receive", ("a",)),
        ("new_channel", ()),
        ("flush", ()),
        ("group_add", ("g", "a")),
        ("group_discard", ("g", "a")),
        ("group_send", ("g", {})),
    ],
)
def test_the_coroutines_are_the_subclass_s(method: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(NotImplementedError, match=rf"BaseChannelLayer has no {method}\(\)"):
        asyncio.run(getattr(LAYER, method)(*arguments))
