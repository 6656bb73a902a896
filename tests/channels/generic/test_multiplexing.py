"""Several streams over one WebSocket."""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import uuid
from typing import Any

import pytest

from channels import Group
from channels.binding.websockets import WebsocketBinding
from channels.exceptions import ConsumeLater, SendNotAvailableOnDemultiplexer
from channels.generic import BaseConsumer
from channels.generic.websockets import (
    JsonWebsocketConsumer,
    WebsocketDemultiplexer,
    WebsocketMultiplexer,
)

from ..driving import Socket, working
from ..messages import REPLY, replies, websocket


class Echo(JsonWebsocketConsumer):
    def connect(self, message: Any, multiplexer: Any = None, **kwargs: Any) -> None:
        multiplexer.send({"connected": multiplexer.stream})

    def receive(self, content: Any, multiplexer: Any = None, **kwargs: Any) -> None:
        multiplexer.send({"echo": content, **kwargs})

    def disconnect(self, message: Any, multiplexer: Any = None, **kwargs: Any) -> None:
        multiplexer.send({"left": multiplexer.stream})


class AsyncEcho(Echo):
    async def receive(self, content: Any, multiplexer: Any = None, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        multiplexer.send({"async": content, "text": self.message["text"]})


def function(message: Any, **kwargs: Any) -> None:
    kwargs.pop("multiplexer").send({"on": message.channel.name, "text": message.get("text"), **kwargs})


class Streams(WebsocketDemultiplexer):
    consumers = {"echo": Echo, "function": function}


class AsyncStreams(WebsocketDemultiplexer):
    consumers = {"slow": AsyncEcho, "echo": Echo}


def frame(stream: Any = "echo", payload: Any = None, **more: Any) -> str:
    return json.dumps({"stream": stream, "payload": {} if payload is None else payload, **more})


def sent(layer: Any) -> list[Any]:
    return [json.loads(reply["text"]) if "text" in reply else reply for reply in replies(layer)]


def test_every_consumer_is_connected_and_disconnected(layer: Any) -> None:
    Streams(websocket(layer), room="a")
    assert sent(layer) == [
        {"accept": True},
        {"stream": "echo", "payload": {"connected": "echo"}},
        {"stream": "function", "payload": {"on": "websocket.connect", "text": None, "room": "a"}},
    ]
    Streams(websocket(layer, "disconnect"))
    assert sent(layer) == [
        {"stream": "echo", "payload": {"left": "echo"}},
        {"stream": "function", "payload": {"on": "websocket.disconnect", "text": None}},
    ]


def test_a_frame_goes_to_the_consumer_of_its_stream(layer: Any) -> None:
    Streams(websocket(layer, "receive", text=frame("echo", {"a": 1})), room="a")
    Streams(websocket(layer, "receive", text=frame("function", {"b": 2}, extra=1)))
    assert sent(layer) == [
        {"stream": "echo", "payload": {"echo": {"a": 1}, "room": "a"}},
        {"stream": "function", "payload": {"on": "websocket.receive", "text": '{"b": 2}'}},
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nonsense", "takes JSON"),
        ("[]", "a dict with"),
        ("5", "a dict with"),
        ('{"stream": "echo"}', "a dict with"),
        ('{"payload": {}}', "a dict with"),
        (frame("other"), "there is no such stream; 'consumers' has 'echo', 'function'"),
        (frame(["echo"]), "there is no such stream"),
        (frame(None), "there is no such stream"),
        (frame("echo", [1]), "the payload must be a dict"),
        (frame("echo", "text"), "the payload must be a dict"),
    ],
)
def test_another_frame_is_an_error_and_closes_with_1007(layer: Any, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"test_multiplexing\.Streams on /chat/") as caught:
        Streams(websocket(layer, "receive", text=text))
    assert reason in str(caught.value)
    assert replies(layer) == [{"close": 1007}]


def test_bytes_close_with_1003(layer: Any) -> None:
    with pytest.raises(ValueError, match="frame without text"):
        Streams(websocket(layer, "receive", text=None, bytes=b"x"))
    assert replies(layer) == [{"close": 1003}]


def test_the_worker_lives_through_bad_frames(layer: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), working(layer, [Streams.as_route()]):
        for number, text in enumerate(["{", "[]", frame("other")]):
            socket = Socket(layer, f"s{number}")
            assert len(socket.connect()) == 3
            assert socket.say(text) == [{"close": 1007}]
        (reply,) = Socket(layer, "last").say(frame("echo", {"a": 1}))
        assert json.loads(reply["text"])["payload"] == {"echo": {"a": 1}}
    assert "there is no such stream" in caplog.text


@pytest.mark.parametrize("kind", ["connect", "receive", "disconnect"])
def test_the_send_of_a_streams_consumer_is_the_demultiplexers(layer: Any, kind: str) -> None:
    class Sending(JsonWebsocketConsumer):
        def connect(self, message: Any, **kwargs: Any) -> None:
            self.send({})

        def receive(self, content: Any, **kwargs: Any) -> None:
            self.send({})

        def disconnect(self, message: Any, **kwargs: Any) -> None:
            self.send({})

    class Own(WebsocketDemultiplexer):
        consumers = {"echo": Sending}

    with pytest.raises(SendNotAvailableOnDemultiplexer, match="multiplexer"):
        Own(websocket(layer, kind, text=frame()))


def test_a_consumer_still_sends_where_it_has_a_socket_for_itself(layer: Any) -> None:
    class Sending(JsonWebsocketConsumer):
        def receive(self, content: Any, **kwargs: Any) -> None:
            self.send({"alone": True})

    class Own(WebsocketDemultiplexer):
        consumers = {"echo": Sending}

    with pytest.raises(SendNotAvailableOnDemultiplexer):
        Own(websocket(layer, "receive", text=frame()))
    Sending(websocket(layer, "receive", text="{}"))
    assert sent(layer) == [{"alone": True}]


def test_a_demultiplexer_sends_to_no_group() -> None:
    with pytest.raises(SendNotAvailableOnDemultiplexer, match=r"WebsocketMultiplexer\.group_send"):
        Streams.group_send("group", "stream", {})


def test_a_multiplexer_sends_to_groups(layer: Any) -> None:
    Group("room").add(REPLY)
    WebsocketMultiplexer.group_send("room", "echo", {"a": 1})
    WebsocketMultiplexer.group_send("room", "echo", {"a": 2}, close=True)
    first, second = replies(layer)
    assert json.loads(first.pop("text")) == {"stream": "echo", "payload": {"a": 1}}
    assert json.loads(second.pop("text")) == {"stream": "echo", "payload": {"a": 2}}
    assert (first, second) == ({}, {"close": True})


def test_a_multiplexer_writes_what_django_can_write() -> None:
    key, day = uuid.UUID(int=5), datetime.date(2020, 1, 2)
    message = WebsocketMultiplexer.encode("echo", {"key": key, "day": day})
    assert json.loads(message["text"]) == {"stream": "echo", "payload": {"key": str(key), "day": "2020-01-02"}}


def test_the_multiplexer_can_be_another(layer: Any) -> None:
    class Numbering(WebsocketMultiplexer):
        @classmethod
        def encode(cls, stream: str, payload: Any) -> dict[str, Any]:
            return {"text": json.dumps([stream, payload])}

    class Own(WebsocketDemultiplexer):
        consumers = {"echo": Echo}
        multiplexer_class = Numbering

    Own(websocket(layer, "receive", text=frame()))
    assert sent(layer) == [["echo", {"echo": {}}]]


def test_groups_of_the_demultiplexer_and_of_its_consumers_are_joined(layer: Any) -> None:
    class Member(Echo):
        def connection_groups(self, multiplexer: Any = None, **kwargs: Any) -> list[str]:
            return [f"{multiplexer.stream}-{kwargs['room']}"]

    class Own(WebsocketDemultiplexer):
        consumers = {"echo": Member}
        groups = ["all"]

    Own(websocket(layer), room="a")
    assert layer.group_channels("all") == layer.group_channels("echo-a") == [REPLY]
    Own(websocket(layer, "disconnect"), room="a")
    assert layer.group_channels("all") == layer.group_channels("echo-a") == []


def test_consumers_share_the_session_of_the_connection(layer: Any) -> None:
    class Counting(JsonWebsocketConsumer):
        channel_session = True

        def receive(self, content: Any, multiplexer: Any = None, **kwargs: Any) -> None:
            session = self.message.channel_session
            session["count"] = session.get("count", 0) + 1
            multiplexer.send({"count": session["count"]})

    class Own(WebsocketDemultiplexer):
        consumers = {"a": Counting, "b": Counting}
        http_user = True

    with working(layer, [Own.as_route()]):
        socket = Socket(layer)
        socket.connect()
        counts = [json.loads(socket.say(frame(stream))[0]["text"])["payload"] for stream in "ab"]
    assert counts == [{"count": 1}, {"count": 2}]


def test_a_consumer_that_is_run_later_gets_its_frame_again(layer: Any) -> None:
    tries = []

    class Later(Echo):
        def receive(self, content: Any, multiplexer: Any = None, **kwargs: Any) -> None:
            tries.append(content)
            if len(tries) < 3:
                raise ConsumeLater
            super().receive(content, multiplexer)

    class Own(WebsocketDemultiplexer):
        consumers = {"echo": Later}

    with working(layer, [Own.as_route()]):
        (reply,) = Socket(layer).say(frame("echo", {"a": 1}))
    assert json.loads(reply["text"]) == {"stream": "echo", "payload": {"echo": {"a": 1}}}
    assert tries == [{"a": 1}] * 3


def test_async_consumers_run_among_the_others_in_order(layer: Any) -> None:
    with working(layer, [AsyncStreams.as_route()]):
        socket = Socket(layer)
        socket.connect()
        slow, fast = socket.say(frame("slow", {"a": 1})), socket.say(frame("echo", {"b": 2}))
        assert not socket.failed
        assert socket.say(frame("other")) == [{"close": 1007}]
    assert json.loads(slow[0]["text"]) == {"stream": "slow", "payload": {"async": {"a": 1}, "text": '{"a": 1}'}}
    assert json.loads(fast[0]["text"]) == {"stream": "echo", "payload": {"echo": {"b": 2}}}


def test_async_consumers_are_connected_one_after_the_other(layer: Any) -> None:
    order = []

    class Slow(JsonWebsocketConsumer):
        async def connect(self, message: Any, **kwargs: Any) -> None:
            await asyncio.sleep(0.01)
            order.append("slow")

    class Fast(JsonWebsocketConsumer):
        def connect(self, message: Any, **kwargs: Any) -> None:
            order.append("fast")

    class Own(WebsocketDemultiplexer):
        consumers = {"slow": Slow, "fast": Fast}

    with working(layer, [Own.as_route()]):
        assert Socket(layer).connect() == [{"accept": True}]
    assert order == ["slow", "fast"]


def test_a_consumer_without_a_send_can_be_on_a_stream(layer: Any) -> None:
    class Bare(BaseConsumer):
        method_mapping = {"websocket.receive": "receive"}

        def receive(self, message: Any, multiplexer: Any = None, **kwargs: Any) -> None:
            multiplexer.send({"bare": message["text"]})

    class Own(WebsocketDemultiplexer):
        consumers = {"echo": Bare}

    Own(websocket(layer, "receive", text=frame()))
    assert sent(layer) == [{"stream": "echo", "payload": {"bare": "{}"}}]


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [("consumers.Echo", "it cannot be called"), (WebsocketBinding, "use WebsocketBinding.consumer")],
)
def test_what_is_no_consumer_is_said_and_closes_with_1011(layer: Any, wrong: Any, advice: str) -> None:
    class Own(WebsocketDemultiplexer):
        consumers = {"echo": wrong}

    with pytest.raises(TypeError, match=r"is not a consumer for the stream 'echo' of .*Own") as caught:
        Own(websocket(layer))
    assert advice in str(caught.value)
    assert replies(layer)[-1] == {"close": 1011}
