"""Names: those that a layer takes, on every call, and its answer to the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ..exceptions import InvalidName
from ..layer import ChannelLayer
from .tools import Tools

GOOD_CHANNELS = ["a", "websocket.receive", "A-b_c.9", "http.response?x-Y_9.z", "daphne.Ab_1!c.d", "n" * 100]
NEVER = ["", " ", "a b", "a\n", "naïve", "a/b", "a:b", "a*", "?a", "!a", "a!b!c", "a?b?c", "a!b?c", "n" * 201]
NO_TEXT: list[Any] = [None, 1, b"bytes", ["a"], ("a",)]


class NameRules(Tools):
    """ASGI 1 draft, "Channels" and "Groups": names. A bad one is a `TypeError` that shows the name."""

    @pytest.mark.parametrize("name", GOOD_CHANNELS)
    def test_a_good_channel_name_is_taken(self, layer: ChannelLayer, name: str) -> None:
        head, mark, _ = name.partition("!")
        layer.send(name, {"n": 1})
        assert self.take(layer, head + mark) == [(name, {"n": 1})]

    @pytest.mark.parametrize("name", ["a", "A-b_c.9", "n" * 100])
    def test_a_good_group_name_is_taken(self, layer: ChannelLayer, name: str) -> None:
        layer.group_add(name, "member")
        layer.send_group(name, {"n": 1})
        assert self.take(layer, "member") == [("member", {"n": 1})]

    @pytest.mark.parametrize("name", [*NEVER, "a!", "a?", *NO_TEXT])
    def test_a_bad_channel_name_is_refused_by_everything_that_sends(self, layer: ChannelLayer, name: Any) -> None:
        for call in (
            lambda: layer.send(name, {}),
            lambda: layer.prepare(name, {}),
            lambda: asyncio.run(layer.asend(name, {})),
            lambda: layer.group_add("group", name),
            lambda: asyncio.run(layer.agroup_add("group", name)),
            lambda: layer.group_discard("group", name),
            lambda: asyncio.run(layer.agroup_discard("group", name)),
            lambda: layer.channel_statistics(name),
        ):
            self._refused(call, name)

    @pytest.mark.parametrize("name", [*NEVER, "a?", "a!b", *NO_TEXT])
    def test_a_bad_channel_name_is_refused_by_everything_that_receives(self, layer: ChannelLayer, name: Any) -> None:
        for call in (
            lambda: layer.receive(["fine", name]),
            lambda: layer.receive_many(["fine", name]),
            lambda: layer.receive_batch(["fine", name]),
            lambda: asyncio.run(layer.areceive(["fine", name], timeout=0)),
            lambda: asyncio.run(layer.areceive_batch(["fine", name])),
        ):
            self._refused(call, name)

    @pytest.mark.parametrize("name", [*NEVER, "a!", "a?", "a!b", "a?b", *NO_TEXT])
    def test_a_bad_group_name_is_refused(self, layer: ChannelLayer, name: Any) -> None:
        for call in (
            lambda: layer.send_group(name, {}),
            lambda: layer.prepare(name, {}, group=True),
            lambda: asyncio.run(layer.asend_group(name, {})),
            lambda: layer.group_add(name, "channel"),
            lambda: asyncio.run(layer.agroup_add(name, "channel")),
            lambda: layer.group_discard(name, "channel"),
            lambda: asyncio.run(layer.agroup_discard(name, "channel")),
            lambda: layer.group_channels(name),
        ):
            self._refused(call, name)

    @pytest.mark.parametrize("pattern", ["", "a", "a!b", "a?b", "!", "?", "a b!", "a!!", "naïve?", *NO_TEXT])
    def test_a_bad_pattern_for_a_new_channel_is_refused(self, layer: ChannelLayer, pattern: Any) -> None:
        self._refused(lambda: layer.new_channel(pattern), pattern)

    @pytest.mark.parametrize("names", ["abc", b"abc", None, 7, {"abc": 1}])
    def test_what_is_no_list_of_names_is_refused_and_nothing_sent(self, layer: ChannelLayer, names: Any) -> None:
        for call in (
            lambda: layer.receive(names),
            lambda: layer.receive_many(names),
            lambda: layer.receive_batch(names),
            lambda: asyncio.run(layer.areceive(names, timeout=0)),
            lambda: asyncio.run(layer.areceive_batch(names)),
            lambda: layer.begin_exchange([layer.prepare("abc", {"n": 1})], names),
        ):
            self._refused(call, names)
        assert self.nothing(layer, "a", "b", "c", "abc")

    @pytest.mark.parametrize("pattern", ["http.response!", "http.request.body?"])
    def test_a_new_channel_is_unique_and_can_be_used(self, layer: ChannelLayer, pattern: str) -> None:
        made = [layer.new_channel(pattern) for _ in range(100)]
        assert len(set(made)) == 100
        assert all(name.startswith(pattern) and len(name) >= len(pattern) + 16 for name in made)
        layer.send(made[0], {"n": 1})
        reader = pattern if pattern.endswith("!") else made[0]
        assert self.take(layer, reader) == [(made[0], {"n": 1})]

    @staticmethod
    def _refused(call: Any, name: Any) -> None:
        with pytest.raises(InvalidName) as caught:
            call()
        assert isinstance(caught.value, TypeError)
        assert repr(name) in str(caught.value)
