"""`channels.testing.websocket`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.testing import WebsocketCommunicator

pytestmark = pytest.mark.usefixtures("no_layer")


class Echo(AsyncWebsocketConsumer):
    """Sends back what it gets, and notes how it was closed."""

    closed: int | None = None

    async def connect(self) -> None:
        if self.scope["path"] == "/no/":
            await self.close(4003 if self.scope["query_string"] else None)
        elif self.scope["path"] == "/chat/":
            await self.accept("chat.v2" if self.scope["subprotocols"] else None, headers=[(b"x-a", b"1")])

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "close":
            await self.close()
        else:
            await self.send(text_data=text_data, bytes_data=bytes_data)

    async def disconnect(self, code: int) -> None:
        type(self).closed = code


def talk(steps: Callable[[WebsocketCommunicator], Awaitable[None]], path: str = "/chat/", **arguments: Any) -> None:
    async def run() -> None:
        await steps(WebsocketCommunicator(Echo.as_asgi(), path, **arguments))

    asyncio.run(run())


def test_frames_go_both_ways() -> None:
    async def steps(client: WebsocketCommunicator) -> None:
        assert await client.connect() == (True, None)
        assert client.response_headers == [(b"x-a", b"1")]
        await client.send_to(text_data="hello")
        assert await client.receive_from() == "hello"
        await client.send_to(bytes_data=b"\0")
        assert await client.receive_from() == b"\0"
        await client.send_json_to({"a": [1]})
        assert await client.receive_json_from() == {"a": [1]}
        assert await client.receive_nothing(timeout=0.02)
        await client.disconnect(code=4002)
        assert Echo.closed == 4002

    talk(steps)


def test_the_chosen_subprotocol_is_returned() -> None:
    async def steps(client: WebsocketCommunicator) -> None:
        assert await client.connect() == (True, "chat.v2")
        await client.disconnect()

    talk(steps, subprotocols=["chat.v1", "chat.v2"])


@pytest.mark.parametrize(("path", "code"), [("/no/", 1000), ("/no/?why", 4003)])
def test_a_rejection_returns_the_code(path: str, code: int) -> None:
    async def steps(client: WebsocketCommunicator) -> None:
        assert await client.connect() == (False, code)
        await client.disconnect()

    talk(steps, path)


def test_the_scope_may_be_added_to() -> None:
    async def steps(client: WebsocketCommunicator) -> None:
        assert client.scope["path"] == "/é/"
        client.scope["path"] = "/chat/"
        assert (await client.connect())[0]
        await client.disconnect()

    talk(steps, "/%C3%A9/")


def test_the_scope_is_that_of_a_websocket() -> None:
    client = WebsocketCommunicator(Echo.as_asgi(), "wss://example.com:1/a?b=c#d", [(b"host", b"x")], ["v1"], "2.3")
    assert client.scope == {
        "type": "websocket",
        "path": "/a",
        "query_string": b"b=c",
        "headers": [(b"host", b"x")],
        "subprotocols": ["v1"],
        "spec_version": "2.3",
    }


def test_a_connection_without_an_answer_times_out() -> None:
    async def steps(client: WebsocketCommunicator) -> None:
        with pytest.raises(TimeoutError):
            await client.connect(timeout=0.02)

    talk(steps, "/silent/")


def test_something_else_than_a_frame_is_named() -> None:
    async def steps(client: WebsocketCommunicator) -> None:
        await client.connect()
        await client.send_to(text_data="close")
        with pytest.raises(AssertionError, match=r"Expected type 'websocket\.send', but was 'websocket\.close'"):
            await client.receive_from()

    talk(steps)


def test_json_is_text() -> None:
    async def steps(client: WebsocketCommunicator) -> None:
        await client.connect()
        await client.send_to(bytes_data=b"[]")
        with pytest.raises(AssertionError, match="not a text frame"):
            await client.receive_json_from()

    talk(steps)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"text": "a", "bytes": b"b"}, "needs exactly one of 'text' or 'bytes'"),
        ({"text": None}, "needs exactly one of 'text' or 'bytes'"),
        ({"text": b"a"}, "The text of the frame is not str"),
        ({"bytes": "a"}, "The bytes of the frame is not bytes"),
    ],
)
def test_a_frame_that_servers_would_refuse_is_refused(event: dict[str, Any], text: str) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.send", **event})

    async def run() -> None:
        with pytest.raises(AssertionError, match=text):
            await WebsocketCommunicator(application, "/").receive_from(timeout=20)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        ({}, "exactly one of text_data or bytes_data"),
        ({"text_data": "a", "bytes_data": b"b"}, "exactly one of text_data or bytes_data"),
        ({"text_data": b"a"}, "text_data argument must be str, it is bytes"),
        ({"bytes_data": "a"}, "bytes_data argument must be bytes, it is str"),
    ],
)
def test_a_frame_is_text_or_bytes(frame: dict[str, Any], text: str) -> None:
    async def steps(client: WebsocketCommunicator) -> None:
        await client.connect()
        with pytest.raises(AssertionError, match=text):
            await client.send_to(**frame)
        await client.disconnect()

    talk(steps)


def test_an_answer_that_is_none_is_named() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.send", "text": "early"})

    async def run() -> None:
        with pytest.raises(AssertionError, match=r"'websocket\.accept' or 'websocket\.close', but was"):
            await WebsocketCommunicator(application, "/").connect(timeout=20)

    asyncio.run(run())


def test_a_path_is_text() -> None:
    with pytest.raises(TypeError, match="Expected str, got"):
        WebsocketCommunicator(Echo.as_asgi(), b"/")  # type: ignore[arg-type]
