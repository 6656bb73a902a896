"""Requests that an ASGI application answers, from a real worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from channel_layer.delivery import Delivery
from channel_layer.exceptions import LayerUnavailable
from channels.hosting import http
from channels.hosting.http import HttpHost
from channels.http.flow import BROKEN_OFF, AsyncPacedSender
from channels.http.streaming import FAILED
from routing import route
from tests.conftest import wait_until

from ..driving import working
from ..messages import REPLY, request

events: list[str] = []


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """What is asked for with the path."""
    body, more = b"", True
    while more:
        event = await receive()
        body, more = body + event["body"], event["more_body"]
    if scope["path"] == "/fail/":
        raise RuntimeError("as it was asked to")
    if scope["path"] == "/silent/":
        return
    if scope["path"] == "/early/":
        await send({"type": "http.response.body", "body": b"too early"})
    await send({"type": "http.response.start", "status": 201, "headers": [(b"X-Method", scope["method"].encode())]})
    if scope["path"] == "/late/":
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        raise RuntimeError("in the middle")
    if scope["path"] == "/stay/":
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        events.append((await receive())["type"])
        if scope["query_string"]:
            await asyncio.sleep(3600)
        return
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b"!"})


@pytest.fixture(autouse=True)
def worker(layer: Any) -> Iterator[None]:
    events.clear()
    with working(layer, [route("http.request", HttpHost(application, {}))]):
        yield


@pytest.fixture
def ask(layer: Any) -> Callable[..., Iterator[Delivery]]:
    """Send a request; returns the messages of its response as they come."""

    def ask(path: str, **content: Any) -> Iterator[Delivery]:
        message = request(layer, path, flow="http.response.flow?x", **content)
        assert layer.send_batch([layer.prepare("http.request", message.content, dict(message.headers))]) == []
        while True:
            yield wait_until(lambda: layer.receive_batch([REPLY.partition("!")[0] + "!"], timeout=0.1), "a message")[0]

    return ask


def whole(messages: Iterator[Delivery]) -> tuple[dict[str, Any], bytes]:
    """The first message of a response, and its content."""
    first = next(messages).message
    content, message = first["content"], first
    while message["more_content"]:
        message = next(messages).message
        content += message["content"]
    return first, content


def test_a_request_reaches_the_application_and_its_parts_come_back(ask: Callable[..., Any]) -> None:
    first, content = whole(ask("/", method="POST", body=b"x" * 300_000))
    assert first["status"] == 201
    assert first["headers"] == [[b"X-Method", b"POST"]]
    assert content == b"x" * 300_000 + b"!"


@pytest.mark.parametrize("path", ["/fail/", "/silent/", "/early/"])
def test_an_application_that_does_not_answer_is_a_500(ask: Callable[..., Any], path: str) -> None:
    message = next(ask(path)).message
    assert (message["status"], message["content"]) == (500, FAILED["content"])


def test_a_response_that_fails_in_the_middle_is_broken_off(ask: Callable[..., Any]) -> None:
    messages = ask("/late/")
    assert next(messages).message["content"] == b"begun"
    assert next(messages).message == BROKEN_OFF


def test_a_response_that_the_layer_cannot_take_is_one_sentence(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def send(sender: AsyncPacedSender, reply: Any) -> None:
        raise LayerUnavailable("memory://", "it is away")

    monkeypatch.setattr(AsyncPacedSender, "send", send)
    assert next(ask("/")).message == BROKEN_OFF
    [record] = [record for record in caplog.records if record.name == "channels.hosting"]
    assert record.getMessage().startswith("the response to GET / is lost: channel layer at memory:// is unavailable")
    assert record.exc_info is None


@pytest.mark.parametrize("query", ["", "wait"])
def test_a_client_that_leaves_is_told_to_the_application(
    ask: Callable[..., Any], layer: Any, query: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http, "FAREWELL_SECONDS", 0.1)
    first = next(ask("/stay/", query=query))
    assert first.headers is not None
    layer.send(first.headers["flow"], {"closed": True})
    wait_until(lambda: events, "the application to hear of it")
    assert events == ["http.disconnect"]
    if query:
        wait_until(lambda: "it is cancelled" in caplog.text, "its end")
