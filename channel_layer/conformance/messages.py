"""Messages: the types they may hold, their size, and their unchanged arrival."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from ..delivery import Headers, Message
from ..elements import MAX_ELEMENTS
from ..exceptions import InvalidMessage, MessageTooLarge
from ..layer import ChannelLayer
from .tools import MakeLayer, Tools

HTTP_REQUEST = {
    "reply_channel": "http.response.a!b",
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/söme/path",
    "query_string": b"a=1&b=%20",
    "root_path": "",
    "headers": [[b"host", b"example.org"], [b"cookie", b"\x80\xff"]],
    "body": b"",
    "client": ["127.0.0.1", 54321],
    "server": None,
}

TYPES: dict[str, Any] = {
    "bytes": bytes(range(256)),
    "empty bytes": b"",
    "text": "plain",
    "text beyond the basic plane": "naïve 日本 \U0001f30a \x00",
    "zero": 0,
    "smallest integer": -(2**63),
    "largest integer": 2**63 - 1,
    "float": 3.14159,
    "true": True,
    "false": False,
    "none": None,
    "empty list": [],
    "empty dict": {},
    "nested": {"a": [1, [b"x", {"b": {"c": [None, "d"]}}]]},
    "an http.request": HTTP_REQUEST,
}

LARGE_AND_SMALL: list[dict[str, Any]] = [
    {"bytes": bytes(range(256)) * 300, "n": 1},
    {"text": "small", "n": 2},
    {"text": "ü\r\n🌊" * 30_000, "n": 3, "bytes": b""},
    {"bytes": b"$70000\r\n" * 40_000, "text": None},
    {"first": "x" * 65_536, "second": b"y" * 65_536},
    {"list": [b"z" * 100_000, "z" * 100_000]},
    {"n": 4},
]
"""Large strings of both kinds, alone, several, inside of others and beside small ones."""

UNSENDABLE: dict[str, Any] = {
    "an object": object(),
    "a set": {1, 2},
    "a date": datetime.datetime(2024, 2, 29),
    "a complex number": 1j,
    "an integer of 65 bits": 2**64,
    "half a surrogate pair": "\ud800",
}


class MessageRules(Tools):
    """ASGI 1 draft, "Channels": types, sizes, copies."""

    @pytest.mark.parametrize("kind", TYPES)
    def test_every_type_of_the_specification_arrives_unchanged(self, layer: ChannelLayer, kind: str) -> None:
        layer.send("types", {"value": TYPES[kind]})
        [(channel, message)] = self.take(layer, "types")
        assert channel == "types"
        assert message == {"value": TYPES[kind]}
        assert type(message["value"]) is type(TYPES[kind])

    def test_an_empty_message_arrives(self, layer: ChannelLayer) -> None:
        layer.send("empty", {})
        assert self.take(layer, "empty") == [("empty", {})]

    def test_tuples_arrive_as_lists(self, layer: ChannelLayer) -> None:
        layer.send("tuples", {"client": ("::1", 80), "headers": (("a", "b"),)})
        assert self.take(layer, "tuples") == [("tuples", {"client": ["::1", 80], "headers": [["a", "b"]]})]

    @pytest.mark.parametrize("kind", UNSENDABLE)
    def test_a_value_that_cannot_be_carried_is_refused_with_its_path(self, layer: ChannelLayer, kind: str) -> None:
        with pytest.raises(InvalidMessage, match=r"outer\.inner\[1\]") as caught:
            layer.send("refused", {"outer": {"inner": ["fine", UNSENDABLE[kind]]}})
        assert "refused" in str(caught.value)
        assert isinstance(caught.value, TypeError)
        assert self.nothing(layer, "refused")

    @pytest.mark.parametrize("key", [1, b"bytes", None, ("a",)])
    def test_a_key_that_is_no_text_is_refused(self, layer: ChannelLayer, key: Any) -> None:
        with pytest.raises(InvalidMessage, match="key"):
            layer.send("refused", {key: 1})
        with pytest.raises(InvalidMessage, match="outer"):
            layer.send("refused", {"outer": {key: 1}})
        assert self.nothing(layer, "refused")

    @pytest.mark.parametrize("message", [None, [], "text", b"bytes", 1])
    def test_a_message_that_is_no_dict_is_refused(self, layer: ChannelLayer, message: Any) -> None:
        with pytest.raises(TypeError, match=f"dict.*{type(message).__name__}"):
            layer.send("refused", message)
        with pytest.raises(TypeError, match=f"dict.*{type(message).__name__}"):
            layer.send_group("refused", message)
        assert self.nothing(layer, "refused")

    def test_a_message_that_contains_itself_is_refused(self, layer: ChannelLayer) -> None:
        endless: list[Any] = []
        endless.append(endless)
        with pytest.raises(InvalidMessage, match="nested"):
            layer.send("refused", {"endless": endless})

    def test_a_message_of_one_mebibyte_arrives(self, layer: ChannelLayer) -> None:
        content = {"bytes": b"\xc3" * 1_048_576}
        layer.send("large", content)
        assert self.take(layer, "large") == [("large", content)]

    def test_large_messages_keep_content_and_order_among_small_ones(self, layer: ChannelLayer) -> None:
        items = [layer.prepare("sizes", content, {"turn": turn}) for turn, content in enumerate(LARGE_AND_SMALL)]
        assert layer.send_batch(items) == []
        taken = self.take_many(layer, "sizes", count=len(items))
        assert [item.message for item in taken] == LARGE_AND_SMALL
        assert [item.headers for item in taken] == [{"turn": turn} for turn in range(len(items))]

    def test_large_messages_reach_groups(self, layer: ChannelLayer) -> None:
        layer.group_add("everyone", "sizes!a")
        layer.group_add("everyone", "sizes.of.others")
        for content in LARGE_AND_SMALL:
            layer.send_group("everyone", content)
        for channel in ("sizes!", "sizes.of.others"):
            taken = self.take(layer, channel, count=len(LARGE_AND_SMALL))
            assert [content for _, content in taken] == LARGE_AND_SMALL

    def test_a_message_over_the_limit_is_refused_and_names_both_sizes(self, make_layer: MakeLayer) -> None:
        layer = make_layer(max_message_size=1000)
        layer.send("sized", {"b": b"x" * 990})
        with pytest.raises(MessageTooLarge, match=r"'sized'.* 1006 bytes.* 1000"):
            layer.send("sized", {"b": b"x" * 1000})
        with pytest.raises(layer.MessageTooLarge):
            layer.send_group("sized", {"b": b"x" * 1000})
        assert [len(message["b"]) for _, message in self.take(layer, "sized")] == [990]
        assert self.nothing(layer, "sized")

    def test_a_message_holds_a_limited_number_of_elements(self, layer: ChannelLayer) -> None:
        numbers = list(range(MAX_ELEMENTS - 3))  # the dict, its key and the list are three more
        layer.send("many", {"numbers": numbers})
        for beside in ({}, {"text": "x" * 100_000}):
            with pytest.raises(MessageTooLarge, match=f"'many'.* more than {MAX_ELEMENTS} elements"):
                layer.send("many", {"numbers": [*numbers, 0], **beside})
        assert self.take(layer, "many") == [("many", {"numbers": numbers})]
        assert self.nothing(layer, "many")

    def test_what_the_sender_changes_after_send_is_not_seen(self, layer: ChannelLayer) -> None:
        content: Message = {"list": [1], "dict": {"a": 1}}
        prepared = layer.prepare("aliased", content)
        layer.send("aliased", content)
        layer.send_batch([prepared])
        content["list"].append(2)
        content["dict"]["a"] = 2
        content["new"] = True
        assert self.take(layer, "aliased", count=2) == [("aliased", {"list": [1], "dict": {"a": 1}})] * 2

    def test_what_one_receiver_changes_is_not_seen_by_the_next(self, layer: ChannelLayer) -> None:
        layer.group_add("both", "members!a")
        layer.group_add("both", "members!b")
        layer.send_group("both", {"list": [1]})
        [(_, first)] = self.take(layer, "members!")
        first["list"].append("changed")
        [(_, second)] = self.take(layer, "members!")
        assert second == {"list": [1]}

    def test_headers_travel_beside_the_content(self, layer: ChannelLayer) -> None:
        headers: Headers = {"turn": 7, "state": {"key": b"\x00\xff"}, "flow": "flow?x"}
        layer.send_batch([layer.prepare("headed", {"text": "hi"}, headers), layer.prepare("headed", {"text": "ho"})])
        first, second = self.take_many(layer, "headed", count=2)
        assert (first.message, first.headers) == ({"text": "hi"}, headers)
        assert (second.message, second.headers) == ({"text": "ho"}, None)

    def test_headers_stay_out_of_what_the_single_form_returns(self, layer: ChannelLayer) -> None:
        layer.send_batch([layer.prepare("headed", {"text": "hi"}, {"turn": 7})])
        assert self.take(layer, "headed") == [("headed", {"text": "hi"})]

    def test_headers_travel_to_groups(self, layer: ChannelLayer) -> None:
        layer.group_add("headed", "members!a")
        layer.group_add("headed", "plain")
        layer.send_batch([layer.prepare("headed", {"text": "hi"}, {"turn": 8}, group=True)])
        for channel in ("members!", "plain"):
            [delivery] = self.take_many(layer, channel)
            assert (delivery.message, delivery.headers) == ({"text": "hi"}, {"turn": 8})
