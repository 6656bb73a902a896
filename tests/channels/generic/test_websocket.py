"""`channels.generic.websocket`: the same tests for the classes with plain methods and with coroutines."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

from channels.exceptions import AcceptConnection, DenyConnection, InvalidChannelLayerError
from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
    WebsocketConsumer,
)

from ..coroutines import LoopLayer, drive

CONNECT = {"type": "websocket.connect"}
DISCONNECT = {"type": "websocket.disconnect", "code": 1001}
ACCEPT = {"type": "websocket.accept", "subprotocol": None}

KINDS = [pytest.param(WebsocketConsumer, id="sync"), pytest.param(AsyncWebsocketConsumer, id="async")]
JSON_KINDS = [pytest.param(JsonWebsocketConsumer, id="sync"), pytest.param(AsyncJsonWebsocketConsumer, id="async")]


def text(data: str) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": data}


def sent_text(data: str) -> dict[str, Any]:
    return {"type": "websocket.send", "text": data}


def consumer(base: type[Any], **methods: Any) -> Any:
    """An application of a class with methods that are written as generators of calls: ``yield self.accept()``."""

    def method(steps: Any) -> Any:
        @functools.wraps(steps)
        async def run_async(self: Any, *args: Any, **kwargs: Any) -> None:
            for step in steps(self, *args, **kwargs) or ():
                await step

        @functools.wraps(steps)
        def run(self: Any, *args: Any, **kwargs: Any) -> None:
            for _ in steps(self, *args, **kwargs) or ():
                pass

        return run_async if issubclass(base, AsyncWebsocketConsumer) else run

    made: Any = type(
        "Chat", (base,), {name: method(value) if callable(value) else value for name, value in methods.items()}
    )
    return made.as_asgi()


@pytest.mark.parametrize("base", KINDS)
@pytest.mark.usefixtures("no_layer")
class TestWithoutALayer:
    def test_by_default_connections_are_accepted_and_frames_ignored(self, base: type[Any]) -> None:
        assert drive(consumer(base), CONNECT, text("hello"), DISCONNECT) == [ACCEPT]

    def test_frames_are_received_and_sent(self, base: type[Any]) -> None:
        def receive(self: Any, text_data: Any = None, bytes_data: Any = None) -> Any:
            yield self.send(text_data=text_data, bytes_data=bytes_data)

        events = text("hello"), {"type": "websocket.receive", "bytes": b"\0", "text": None}, text("")
        sent = drive(consumer(base, receive=receive), CONNECT, *events, DISCONNECT)
        assert sent == [ACCEPT, sent_text("hello"), {"type": "websocket.send", "bytes": b"\0"}, sent_text("")]

    def test_a_subprotocol_and_headers_can_be_sent_with_the_acceptance(self, base: type[Any]) -> None:
        def connect(self: Any) -> Any:
            yield self.accept("chat.v2", headers=((b"x-room", b"1"),))

        assert drive(consumer(base, connect=connect), CONNECT, DISCONNECT) == [
            {"type": "websocket.accept", "subprotocol": "chat.v2", "headers": [(b"x-room", b"1")]}
        ]

    @pytest.mark.parametrize(
        ("exception", "answer"), [(AcceptConnection, ACCEPT), (DenyConnection, {"type": "websocket.close"})]
    )
    def test_exceptions_accept_and_deny(self, base: type[Any], exception: Any, answer: dict[str, Any]) -> None:
        def connect(self: Any) -> Any:
            raise exception

        assert drive(consumer(base, connect=connect), CONNECT, DISCONNECT) == [answer]

    @pytest.mark.parametrize(
        ("arguments", "details"),
        [((), {}), ((True,), {}), ((4001,), {"code": 4001}), ((4001, "so"), {"code": 4001, "reason": "so"})],
    )
    def test_close(self, base: type[Any], arguments: Any, details: dict[str, Any]) -> None:
        def connect(self: Any) -> Any:
            yield self.close(*arguments)

        sent = drive(consumer(base, connect=connect), CONNECT, DISCONNECT)
        assert sent == [{"type": "websocket.close", **details}]

    @pytest.mark.parametrize(("close", "details"), [(True, {}), (4001, {"code": 4001})])
    def test_a_frame_can_be_the_last(self, base: type[Any], close: Any, details: dict[str, Any]) -> None:
        def receive(self: Any, text_data: Any = None, bytes_data: Any = None) -> Any:
            yield self.send(text_data="bye", close=close)

        sent = drive(consumer(base, receive=receive), CONNECT, text("x"), DISCONNECT)
        assert sent == [ACCEPT, sent_text("bye"), {"type": "websocket.close", **details}]

    def test_a_frame_holds_something(self, base: type[Any]) -> None:
        def connect(self: Any) -> Any:
            yield self.send()

        with pytest.raises(ValueError, match="one of bytes_data or text_data"):
            drive(consumer(base, connect=connect), CONNECT)

    @pytest.mark.parametrize(
        ("event", "code"), [(DISCONNECT, 1001), ({"type": "websocket.disconnect"}, 1005)], ids=["with", "without"]
    )
    def test_disconnect_gets_the_code(self, base: type[Any], event: dict[str, Any], code: int) -> None:
        seen: list[int] = []
        drive(consumer(base, disconnect=lambda self, code: seen.append(code)), CONNECT, event)
        assert seen == [code]

    def test_groups_need_a_layer(self, base: type[Any]) -> None:
        expected = r"Chat\.groups needs a channel layer with groups, and CHANNEL_LAYERS\['default'\] is missing"
        with pytest.raises(InvalidChannelLayerError, match=expected):
            drive(consumer(base, groups=["news"]), CONNECT)


@pytest.mark.parametrize("base", KINDS)
class TestGroups:
    def test_they_are_joined_before_connect_and_left_before_disconnect(
        self, base: type[Any], loop_layer: LoopLayer
    ) -> None:
        members: list[set[str]] = []

        def note(self: Any, code: int = 0) -> Any:
            members.append({*loop_layer.groups["news"]})
            yield from ([] if code else [self.accept()])

        drive(consumer(base, groups=["news"], connect=note, disconnect=note), CONNECT, DISCONNECT)
        assert members == [{"specific.!1"}, set()]

    def test_their_messages_are_handled(self, base: type[Any], loop_layer: LoopLayer) -> None:
        def news_item(self: Any, event: dict[str, Any]) -> Any:
            yield self.send(text_data=event["headline"], close=True)
            self.end()

        async def tell(*args: Any) -> None:
            await loop_layer.group_send("news", {"type": "news.item", "headline": "Rain"})

        application = consumer(base, groups=("news",), news_item=news_item)
        application.consumer_class.end = lambda self: loop_layer.queues[self.channel_name].put_nowait(DISCONNECT)
        if base is AsyncWebsocketConsumer:
            application.consumer_class.connect = tell
        else:
            application.consumer_class.connect = lambda self: loop_layer.queues[self.channel_name].put_nowait(
                {"type": "news.item", "headline": "Rain"}
            )
        assert drive(application, CONNECT)[0] == sent_text("Rain")

    def test_a_layer_without_groups_is_named(self, base: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        class Plain:
            new_channel = LoopLayer().new_channel
            receive = LoopLayer().receive

        monkeypatch.setattr("channels.consumer.get_channel_layer", lambda alias: Plain)
        with pytest.raises(InvalidChannelLayerError, match="has a BACKEND without groups"):
            drive(consumer(base, groups=["news"]), CONNECT)

    def test_each_instance_has_a_list_of_its_own(self, base: type[Any], loop_layer: LoopLayer) -> None:
        first, second = base(), base()
        first.groups.append("news")
        assert (second.groups, base.groups) == ([], None)


@pytest.mark.parametrize("base", JSON_KINDS)
@pytest.mark.usefixtures("no_layer")
class TestJson:
    def test_values_are_received_and_sent(self, base: type[Any]) -> None:
        def receive_json(self: Any, content: Any) -> Any:
            yield self.send_json({"got": content})
            yield self.send_json("bye", close=4001)

        sent = drive(consumer(base, receive_json=receive_json), CONNECT, text('{"a": [1]}'), DISCONNECT)
        assert sent == [
            ACCEPT,
            sent_text('{"got": {"a": [1]}}'),
            sent_text('"bye"'),
            {"type": "websocket.close", "code": 4001},
        ]

    @pytest.mark.parametrize("event", [text(""), {"type": "websocket.receive", "bytes": b"[]"}])
    def test_a_frame_without_text_ends_the_instance(self, base: type[Any], event: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="No text section"):
            drive(consumer(base), CONNECT, event)

    def test_values_are_encoded_by_the_class(self, base: type[Any]) -> None:
        class Upper(base):  # type: ignore[misc]
            if base is JsonWebsocketConsumer:

                @classmethod
                def encode_json(cls, content: Any) -> str:
                    return str(content).upper()

                @classmethod
                def decode_json(cls, text_data: str) -> Any:
                    return text_data + "!"

                def receive_json(self, content: Any, **kwargs: Any) -> None:
                    self.send_json(content)
            else:

                @classmethod
                async def encode_json(cls, content: Any) -> str:
                    await asyncio.sleep(0)
                    return str(content).upper()

                @classmethod
                async def decode_json(cls, text_data: str) -> Any:
                    return text_data + "!"

                async def receive_json(self, content: Any, **kwargs: Any) -> None:
                    await self.send_json(content)

        assert drive(Upper.as_asgi(), CONNECT, text("hello"), DISCONNECT) == [ACCEPT, sent_text("HELLO!")]
