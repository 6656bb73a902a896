"""WebSockets on a server that is not ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from channel_layer.delivery import Delivery
from interface_server.asgi.websocket import AsgiSocket, _read
from tests.interface_server.fakes import QuietContext
from tests.interface_server.helpers import Workers, silent
from tests.interface_server.hosted import hosted


def test_websocket_messages_come_back_in_order() -> None:
    with hosted() as host, connect(host.url()) as client:
        for number in range(50):
            client.send(str(number))
        assert [client.recv(timeout=20) for _ in range(50)] == [str(number) for number in range(50)]
        client.send(b"\xff")
        assert client.recv(timeout=20) == b"\xff"


def test_a_websocket_is_closed_from_either_side_and_told_once() -> None:
    def bye(workers: Workers, delivery: Delivery) -> None:
        workers.reply(delivery, {"close": 4001, "reason": "enough"})

    with hosted({"websocket.receive": bye}) as host:
        with connect(host.url()) as client:
            client.send("x")
            with pytest.raises(ConnectionClosed) as caught:
                client.recv(timeout=20)
            assert caught.value.rcvd is not None
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4001, "enough")
        with connect(host.url()) as client:
            client.close(4002, "later")
        messages = [item.message for item in host.workers.wait_for("websocket.disconnect", 2)]
        assert sorted((item["code"], item["reason"]) for item in messages) == [(4001, "enough"), (4002, "later")]


@pytest.mark.parametrize(("consumer", "status"), [("deny", 403), ("silent", 503)])
def test_a_refused_handshake_has_its_status(consumer: str, status: int) -> None:
    def deny(workers: Workers, delivery: Delivery) -> None:
        workers.reply(delivery, {"accept": False})

    consumers = {"websocket.connect": deny if consumer == "deny" else silent}
    with hosted(consumers, accept_timeout=0.3) as host:
        with pytest.raises(InvalidStatus) as caught, connect(host.url()):
            pass
        assert caught.value.response.status_code == status


def test_the_answer_to_a_handshake_has_the_fields_of_its_reply() -> None:
    def answer(workers: Workers, delivery: Delivery) -> None:
        reply: dict[str, Any] = {"accept": True}
        if delivery.message["path"] == "/denied":
            reply = {"accept": False, "status": 401, "content": b"who?"}
        workers.reply(delivery, {**reply, "headers": [[b"Set-Cookie", b"a=b"]]})

    with hosted({"websocket.connect": answer}) as host:
        with connect(host.url()) as client:
            assert client.response is not None
            assert client.response.headers["set-cookie"] == "a=b"
        with pytest.raises(InvalidStatus) as caught, connect(host.url("/denied")):
            pass
        response = caught.value.response
        assert (response.status_code, response.headers["set-cookie"], response.body) == (401, "a=b", b"who?")


@pytest.mark.parametrize(
    ("least", "over"), [("é" * 500, "é" * 501), ("x" * 1000, "x" * 1001), (b"x" * 1000, b"x" * 1001)]
)
def test_a_message_of_exactly_the_limit_passes_and_one_over_it_is_1009(least: str | bytes, over: str | bytes) -> None:
    with hosted(websocket_max_message=1000) as host, connect(host.url()) as client:
        client.send(least)
        assert client.recv(timeout=20) == least
        client.send(over)
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(timeout=20)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009


def test_an_event_without_content_is_passed_over() -> None:
    class Listener:
        """A connection that notes what it hears."""

        def __init__(self) -> None:
            self.heard: list[object] = []

        def received(self, content: str | bytes) -> None:
            self.heard.append(content)

        def lost(self, code: int, reason: str) -> None:
            self.heard.append(code)

    events = iter(
        [
            {"type": "websocket.receive"},
            {"type": "websocket.receive", "text": None, "bytes": None},
            {"type": "websocket.receive", "text": None, "bytes": b"x"},
            {"type": "websocket.disconnect", "code": 1001},
        ]
    )

    async def receive() -> Any:
        return next(events)

    listener = Listener()
    asyncio.run(_read(listener, AsgiSocket(QuietContext(), False), receive))  # type: ignore[arg-type]
    assert listener.heard == [b"x", 1001]
