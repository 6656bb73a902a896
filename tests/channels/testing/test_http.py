"""`channels.testing.http`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from channels.testing import HttpCommunicator


async def echo(scope: Any, receive: Any, send: Any) -> None:
    event = await receive()
    await send({"type": "http.response.start", "status": 201, "headers": [(b"x-a", b"1")]})
    for part in (scope["method"], scope["path"], scope["query_string"].decode()):
        await send({"type": "http.response.body", "body": part.encode() + b" ", "more_body": True})
    await send({"type": "http.response.body", "body": event["body"]})


def respond(application: Any, *args: Any, **kwargs: Any) -> Any:
    async def run() -> Any:
        return await HttpCommunicator(application, *args, **kwargs).get_response(timeout=20)

    return asyncio.run(run())


def test_a_request_is_answered() -> None:
    assert respond(echo, "post", "/caf%C3%A9/?a=%31", body=b"hello") == {
        "status": 201,
        "headers": [(b"x-a", b"1")],
        "body": "POST /café/ a=%31 hello".encode(),
    }


def test_the_scope_is_that_of_a_request() -> None:
    communicator = HttpCommunicator(echo, "GET", "https://example.com/a/", headers=[(b"host", b"example.com")])
    assert communicator.scope == {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/a/",
        "query_string": b"",
        "headers": [(b"host", b"example.com")],
    }


def test_headers_may_be_left_out() -> None:
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    assert respond(bare, "GET", "/") == {"status": 204, "headers": [], "body": b""}


def test_what_does_not_belong_into_a_response_is_named() -> None:
    async def wrong(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    with pytest.raises(AssertionError, match=r"Expected type 'http\.response\.start', but was 'websocket\.accept'"):
        respond(wrong, "GET", "/")


def test_a_body_is_bytes() -> None:
    with pytest.raises(TypeError, match="the body of a request is bytes, not str"):
        HttpCommunicator(echo, "POST", "/", body="hello")  # type: ignore[arg-type]
