"""Frames that consumers cannot use."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from channel_layer.exceptions import LayerUnavailable
from channels.generic.refusing import BadFrame
from channels.generic.websockets import JsonWebsocketConsumer

from ..driving import Socket, working
from ..messages import replies, websocket

BAD_TEXT = ["", "{", "nonsense", '{"a": }', "[" * 100_000]


class Echo(JsonWebsocketConsumer):
    def receive(self, content: Any, **kwargs: Any) -> None:
        self.send(content)


@pytest.mark.parametrize("text", BAD_TEXT)
def test_text_that_is_no_json_closes_with_1007(layer: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"test_refusing\.Echo on /chat/ takes JSON, and got '"):
        Echo(websocket(layer, "receive", text=text, bytes=None))
    assert replies(layer) == [{"close": 1007}]


def test_bytes_close_with_1003(layer: Any) -> None:
    with pytest.raises(ValueError, match=r"Echo on /chat/ takes JSON as text, and got a frame without text"):
        Echo(websocket(layer, "receive", text=None, bytes=b"{}"))
    assert replies(layer) == [{"close": 1003}]


def test_the_worker_logs_it_and_goes_on(layer: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), working(layer, [Echo.as_route()]):
        socket = Socket(layer)
        socket.connect()
        assert socket.say("nonsense\x1b[31m") == [{"close": 1007}]
        other = Socket(layer, "other")
        other.connect()
        assert other.say(data=b"x") == [{"close": 1003}]
        assert Socket(layer, "third").say({}) == [{"text": "{}"}]
    assert "takes JSON, and got 'nonsense" in caplog.text
    assert "\x1b" not in caplog.text
    assert "frame without text" in caplog.text


@pytest.mark.parametrize(("text", "data", "code"), [("x", None, 1007), (None, b"x", 1003)])
def test_an_event_loop_does_not_wait_for_the_close(layer: Any, text: Any, data: Any, code: int) -> None:
    class AsyncEcho(Echo):
        async def receive(self, content: Any, **kwargs: Any) -> None: ...

    class Around(AsyncEcho):
        async def raw_receive(self, message: Any, **kwargs: Any) -> None:
            await super().raw_receive(message, **kwargs)

    def send_batch(items: Any) -> Any:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return sent(items)

    sent, layer.channel_layer.send_batch = layer.channel_layer.send_batch, send_batch
    for consumer in (AsyncEcho, Around):
        with pytest.raises(BadFrame):
            asyncio.run(consumer(websocket(layer, "receive", text=text, bytes=data)))  # type: ignore[arg-type]
        assert replies(layer) == [{"close": code}]


def test_a_long_frame_makes_no_long_line(layer: Any) -> None:
    with pytest.raises(BadFrame) as caught:
        Echo(websocket(layer, "receive", text="x" * 100_000))
    assert len(str(caught.value)) < 500


def test_other_errors_of_decoding_are_the_developers(layer: Any) -> None:
    class Broken(Echo):
        @classmethod
        def decode_json(cls, text: str) -> Any:
            raise KeyError("a mistake")

    with pytest.raises(KeyError, match="a mistake"):
        Broken(websocket(layer, "receive", text="{}"))
    assert replies(layer) == []


def test_a_close_that_cannot_be_sent_is_logged(
    layer: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(items: Any) -> None:
        raise LayerUnavailable("here", "a test")

    monkeypatch.setattr(layer.channel_layer, "send_batch", away)
    with pytest.raises(BadFrame):
        Echo(websocket(layer, "receive", text="x"))
    assert "the WebSocket /chat/ could not be closed" in caplog.text
