"""`Channel`, `Group` and `Message` as application code uses them."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from channel_layer.channel import Channel, Group, Message
from channel_layer.exceptions import ChannelFull, InvalidMessage, InvalidName
from channel_layer.memory import MemoryChannelLayer
from channel_layer.registry import channel_layers
from tests.fixtures.outboxes import collecting


@pytest.fixture
def layer() -> MemoryChannelLayer:
    return MemoryChannelLayer(capacity=2)


@pytest.fixture
def default_layer(layer: MemoryChannelLayer) -> Iterator[MemoryChannelLayer]:
    before = channel_layers.set("default", layer)
    yield layer
    channel_layers.set("default", before)


@pytest.mark.parametrize("cls", [Channel, Group])
@pytest.mark.parametrize("name", [b"\xe4", None, 1, ["a"]])
def test_a_name_that_is_no_text_is_a_value_error(cls: Any, name: Any, layer: MemoryChannelLayer) -> None:
    with pytest.raises(ValueError, match="name is a str"):
        cls(name, channel_layer=layer)


@pytest.mark.parametrize("cls", [Channel, Group])
def test_a_name_of_ascii_bytes_is_text(cls: Any, layer: MemoryChannelLayer) -> None:
    assert cls(b"room", channel_layer=layer).name == "room"


@pytest.mark.parametrize("cls", [Channel, Group])
def test_its_text_is_its_name(cls: Any, layer: MemoryChannelLayer) -> None:
    thing = cls("room", channel_layer=layer)
    assert str(thing) == thing.name == "room"
    assert repr(thing) == f"<{cls.__name__} room>"


def test_an_alias_finds_the_layer(default_layer: MemoryChannelLayer) -> None:
    assert Channel("a").channel_layer is default_layer
    assert Group("a", alias="default").channel_layer is default_layer


def test_sending_reaches_the_channel(layer: MemoryChannelLayer) -> None:
    Channel("room", channel_layer=layer).send({"text": "hi"})
    assert layer.receive(["room"]) == ("room", {"text": "hi"})


def test_sending_to_a_full_channel_raises(layer: MemoryChannelLayer) -> None:
    channel = Channel("room", channel_layer=layer)
    channel.send({})
    channel.send({})
    with pytest.raises(ChannelFull, match="'room'"):
        channel.send({})


@pytest.mark.parametrize("cls", [Channel, Group])
@pytest.mark.parametrize("content", [None, [], "text", b""])
def test_content_that_is_no_dict_is_a_type_error_of_both(cls: Any, content: Any, layer: MemoryChannelLayer) -> None:
    with pytest.raises(TypeError, match="a message is a dict"):
        cls("room", channel_layer=layer).send(content)


@pytest.mark.parametrize("cls", [Channel, Group])
def test_bad_content_is_refused_where_it_is_sent_even_inside_a_consumer(cls: Any, layer: MemoryChannelLayer) -> None:
    with collecting([]) as outbox, pytest.raises(InvalidMessage, match="'when'"):
        cls("room", channel_layer=layer).send({"when": object()})
    assert outbox == []


def test_a_bad_name_is_refused_when_it_is_used(layer: MemoryChannelLayer) -> None:
    with pytest.raises(InvalidName, match="'a b'"):
        Channel("a b", channel_layer=layer).send({})
    with pytest.raises(InvalidName, match="'a!b'"):
        Group("a!b", channel_layer=layer).send({})


def test_immediately_does_not_wait_for_the_consumer(layer: MemoryChannelLayer) -> None:
    with collecting([]) as outbox:
        Channel("room", channel_layer=layer).send({"n": 1}, immediately=True)
        assert layer.receive(["room"]) == ("room", {"n": 1})
        Group("group", channel_layer=layer).add("room")
        Group("group", channel_layer=layer).send({"n": 2}, immediately=True)
        assert layer.receive(["room"]) == ("room", {"n": 2})
    assert outbox == []


def test_a_group_takes_channels_and_names(layer: MemoryChannelLayer) -> None:
    group = Group("group", channel_layer=layer)
    group.add(Channel("one", channel_layer=layer))
    group.add("other")
    assert sorted(layer.group_channels("group")) == ["one", "other"]
    group.discard("one")
    group.discard(Channel("other", channel_layer=layer))
    assert layer.group_channels("group") == []


def test_members_that_are_full_miss_a_message_without_an_error(layer: MemoryChannelLayer) -> None:
    group = Group("group", channel_layer=layer)
    group.add("room")
    for n in range(4):
        group.send({"n": n})
    assert [layer.receive(["room"])[1] for _ in range(3)] == [{"n": 0}, {"n": 1}, None]


def test_a_message_reads_like_its_content(layer: MemoryChannelLayer) -> None:
    message = Message({"text": "hi", "reply_channel": "process!x"}, "websocket.receive", layer)
    assert message["text"] == "hi"
    assert "text" in message
    assert "bytes" not in message
    assert message.get("bytes", 3) == 3
    assert list(message.keys()) == ["text", "reply_channel"]
    assert list(message.values()) == ["hi", "process!x"]
    assert dict(message.items()) == message.content
    message["text"] = "ho"
    assert message.content["text"] == "ho"
    with pytest.raises(KeyError):
        message["bytes"]


def test_a_message_knows_where_it_came_from_and_where_to_answer(layer: MemoryChannelLayer) -> None:
    message = Message({"reply_channel": "process!x"}, "websocket.receive", layer)
    assert message.channel.name == "websocket.receive"
    assert message.channel_layer is layer
    assert message.reply_channel is not None
    message.reply_channel.send({"n": 1})
    assert layer.receive(["process!"]) == ("process!x", {"n": 1})
    assert Message({}, "thumbnails", layer).reply_channel is None
    assert Message({"reply_channel": None}, "thumbnails", layer).reply_channel is None


def test_headers_are_beside_the_content(layer: MemoryChannelLayer) -> None:
    plain = Message({}, "x", layer)
    assert (dict(plain.headers), plain.state, plain.carries_state) == ({}, None, False)
    turned = Message({}, "x", layer, {"turn": 1, "state": {"a": b"s"}})
    assert (turned.state, turned.carries_state) == ({"a": b"s"}, True)
    assert "turn" not in turned


def test_a_copy_has_its_own_content_and_the_same_state(layer: MemoryChannelLayer) -> None:
    message = Message({"a": 1, "list": [1]}, "x", layer, {"turn": 1, "state": {"a": b"old"}})
    message.state = {"a": b"new"}
    twin = message.copy()
    twin["a"] = 2
    twin["list"].append(2)
    assert (message["a"], message["list"]) == (1, [1])
    assert (twin.channel.name, twin.headers, twin.state) == ("x", message.headers, {"a": b"new"})


def test_async_forms_reach_the_layer(layer: MemoryChannelLayer) -> None:
    async def main() -> None:
        await Channel("room", channel_layer=layer).asend({"text": "hi"})
        group = Group("all", channel_layer=layer)
        await group.aadd(Channel("a", channel_layer=layer))
        await group.aadd("b")
        await group.aadd("c")
        await group.adiscard("c")
        await group.asend({"n": 1})

    asyncio.run(main())
    assert layer.receive(["room"]) == ("room", {"text": "hi"})
    assert layer.receive(["a"]) == ("a", {"n": 1})
    assert layer.receive(["b"]) == ("b", {"n": 1})
    assert layer.receive(["c"]) == (None, None)


def test_an_async_send_to_a_full_channel_raises(layer: MemoryChannelLayer) -> None:
    async def main() -> None:
        for _ in range(3):
            await Channel("room", channel_layer=layer).asend({})

    with pytest.raises(ChannelFull, match="'room'"):
        asyncio.run(main())


@pytest.mark.parametrize("cls", [Channel, Group])
def test_inside_a_consumer_async_sends_are_held_back_unless_they_are_urgent(
    cls: Any, layer: MemoryChannelLayer
) -> None:
    layer.group_add("room", "room")

    async def main() -> None:
        with collecting([]) as outbox:
            await cls("room", channel_layer=layer).asend({"n": 1})
            assert [item.target for _, item in outbox] == ["room"]
            assert layer.receive(["room"]) == (None, None)
            await cls("room", channel_layer=layer).asend({"n": 2}, immediately=True)
            assert layer.receive(["room"]) == ("room", {"n": 2})

    asyncio.run(main())


class FarLayer(MemoryChannelLayer):
    """One that has to be waited for."""

    local_only = False


def test_a_layer_inside_the_process_keeps_no_event_loop_waiting(layer: MemoryChannelLayer) -> None:
    async def main() -> None:
        Channel("room", channel_layer=layer).send({"n": 1})
        Group("all", channel_layer=layer).add("room")

    asyncio.run(main())
    assert layer.group_channels("all") == ["room"]


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        (lambda layer: Channel("a", channel_layer=layer).send({}), "asend"),
        (lambda layer: Group("a", channel_layer=layer).send({}), "asend"),
        (lambda layer: Group("a", channel_layer=layer).add("b"), "aadd"),
        (lambda layer: Group("a", channel_layer=layer).discard("b"), "adiscard"),
    ],
)
def test_sync_forms_that_wait_warn_on_an_event_loop_with_the_line_they_stand_in(call: Any, instead: str) -> None:
    layer = FarLayer()

    async def main() -> None:
        with pytest.warns(RuntimeWarning, match=rf"holds up the event loop meanwhile; await {instead}\(\)") as caught:
            call(layer)
        assert caught[0].filename == __file__

    asyncio.run(main())


def test_a_sync_send_that_is_held_back_warns_of_nothing() -> None:
    layer = FarLayer()

    async def main() -> None:
        with warnings.catch_warnings(), collecting([]) as outbox:
            warnings.simplefilter("error")
            Channel("room", channel_layer=layer).send({})
            assert len(outbox) == 1

    asyncio.run(main())


def test_a_message_can_be_made_without_channel_and_layer(default_layer: MemoryChannelLayer) -> None:
    message = Message({"reply_channel": "room", "text": "hi"}, None, None).copy()
    assert message.channel.name == ""
    assert message.channel_layer is default_layer
    assert message.reply_channel is not None
    message.reply_channel.send(message.content)
    assert default_layer.receive(["room"])[1] == message.content
