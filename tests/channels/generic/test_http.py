"""`channels.generic.http`."""

from __future__ import annotations

from typing import Any

import pytest

from channels.exceptions import StopConsumer
from channels.generic.http import AsyncHttpConsumer

from ..coroutines import LoopLayer, drive

pytestmark = pytest.mark.usefixtures("loop_layer")


class Echo(AsyncHttpConsumer):
    """Sends back what it got, and notes when it is told of the end."""

    ended = 0

    async def handle(self, body: bytes) -> None:
        await self.send_response(201, body, headers=[(b"x-a", b"1")])

    async def disconnect(self) -> None:
        type(self).ended += 1


@pytest.fixture(autouse=True)
def _nothing_ended() -> None:
    Echo.ended = 0


def request(body: bytes = b"", **more: Any) -> dict[str, Any]:
    return {"type": "http.request", "body": body, **more}


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(part: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": part, "more_body": more}


def test_the_body_is_gathered_and_answered() -> None:
    sent = drive(Echo.as_asgi(), request(b"one ", more_body=True), request(b"two"))
    assert sent == [start(201, (b"x-a", b"1")), body(b"one two")]
    assert Echo.ended == 1


def test_a_request_without_a_body_is_answered() -> None:
    assert drive(Echo.as_asgi(), {"type": "http.request"})[1] == body(b"")


def test_headers_may_be_a_dict() -> None:
    class Page(AsyncHttpConsumer):
        async def handle(self, body: bytes) -> None:
            await self.send_response(200, b"hello", headers={b"x-a": b"1"})

    assert drive(Page.as_asgi(), request())[0] == start(200, (b"x-a", b"1"))


def test_a_response_may_have_parts() -> None:
    class Parts(AsyncHttpConsumer):
        async def handle(self, body: bytes) -> None:
            await self.send_headers()
            await self.send_body(b"one", more_body=True)
            await self.send_body(b"two")

    assert drive(Parts.as_asgi(), request()) == [start(), body(b"one", more=True), body(b"two")]


def test_a_body_of_text_is_refused() -> None:
    class Text(AsyncHttpConsumer):
        async def handle(self, body: bytes) -> None:
            await self.send_response(200, "hello")  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="Body is not bytes: it is str; encode it"):
        drive(Text.as_asgi(), request())


def test_the_end_is_told_after_a_failure() -> None:
    class Failing(Echo):
        async def handle(self, body: bytes) -> None:
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        drive(Failing.as_asgi(), request())
    assert Failing.ended == 1


def test_the_end_is_told_when_the_client_leaves() -> None:
    assert drive(Echo.as_asgi(), request(b"one", more_body=True), {"type": "http.disconnect"}) == []
    assert Echo.ended == 1


def test_a_class_says_how_it_handles_requests() -> None:
    with pytest.raises(NotImplementedError, match=r"AsyncHttpConsumer must provide a handle\(\) method"):
        drive(AsyncHttpConsumer.as_asgi(), request())


def test_a_long_poll_is_answered_by_a_message(loop_layer: LoopLayer) -> None:
    class LongPoll(AsyncHttpConsumer):
        async def http_request(self, message: dict[str, Any]) -> None:
            await self.channel_layer.group_add("news", self.channel_name)
            await self.channel_layer.group_send("news", {"type": "news.item", "headline": b"Rain"})

        async def news_item(self, event: dict[str, Any]) -> None:
            await self.send_response(200, event["headline"])
            raise StopConsumer

    assert drive(LongPoll.as_asgi(), request()) == [start(), body(b"Rain")]
