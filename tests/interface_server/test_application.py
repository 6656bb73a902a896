"""The application on a server that is not ours: uvicorn with its own protocol classes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from channel_layer.delivery import Delivery
from channel_layer.memory import MemoryChannelLayer
from interface_server.application import Application
from interface_server.options import Options
from tests.conftest import wait_until
from tests.interface_server.helpers import Consumer, Workers, respond, silent


class Hosted:
    """A plain uvicorn server with the application on it."""

    def __init__(self, consumers: dict[str, Consumer], **options: Any) -> None:
        self.layer = MemoryChannelLayer()
        self.application = Application(self.layer, Options(**{"graceful_timeout": 2, **options}))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        config = uvicorn.Config(self.application, log_config=None, log_level="critical", ws="websockets-sansio",
                                timeout_graceful_shutdown=2)  # fmt: skip
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],), daemon=True)
        self.thread.start()
        wait_until(lambda: self.server.started, "uvicorn")
        self.workers = Workers(self.layer, {"http.request": respond(), **consumers})

    def request(self, method: str = "GET", body: bytes | None = None, **fields: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, "/p?q=1", body=body, headers=fields)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/chat"


@contextlib.contextmanager
def hosted(consumers: dict[str, Consumer] | None = None, **options: Any) -> Iterator[Hosted]:
    host = Hosted(consumers or {}, **options)
    try:
        yield host
    finally:
        host.server.should_exit = True
        host.thread.join(30)
        host.workers.stop()


def body(workers: Workers, delivery: Delivery) -> None:
    """Answer with the length of the body, wherever it travelled."""
    size = len(delivery.message["body"])
    more = "body_channel" in delivery.message
    while more:
        for chunk in workers.layer.receive_many([delivery.message["body_channel"]], timeout=10):
            size += len(chunk.message["content"])
            more = chunk.message["more_content"]
    workers.reply(delivery, {"status": 200, "content": b"%d" % size})


def test_requests_of_every_size_pass() -> None:
    with hosted({"http.request": body}) as host:
        assert host.request() == (200, b"0")
        assert host.request("POST", b"x" * 1000) == (200, b"1000")
        assert host.request("POST", b"x" * 3_000_000) == (200, b"3000000")
        assert host.workers.on("http.request")[0].message["query_string"] == b"q=1"


def test_a_streamed_response_passes() -> None:
    def stream(workers: Workers, delivery: Delivery) -> None:
        workers.send(delivery, {"status": 200, "content": b"", "more_content": True})
        for _ in range(20):
            workers.send(delivery, {"content": b"x" * 100_000, "more_content": True})
        workers.send(delivery, {"content": b"", "more_content": False})

    with hosted({"http.request": stream}) as host:
        status, content = host.request()
        assert (status, len(content)) == (200, 2_000_000)


def test_the_limits_that_an_application_can_keep_are_kept() -> None:
    with hosted({"http.request": silent}, body_max=100, http_timeout=0.3) as host:
        assert host.request("POST", b"x" * 101)[0] == 413
        assert host.request()[0] == 504


def test_a_client_that_leaves_is_told_to_consumers() -> None:
    with hosted({"http.request": silent}) as host:
        with socket.create_connection(("127.0.0.1", host.port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            host.workers.wait_for("http.request")
        host.workers.wait_for("http.disconnect")


def test_a_response_that_cannot_be_completed_is_cut() -> None:
    def begin(workers: Workers, delivery: Delivery) -> None:
        workers.send(delivery, {"status": 200, "content": b"begin", "more_content": True})

    with hosted({"http.request": begin}) as host:
        connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=20)
        connection.request("GET", "/")
        response = connection.getresponse()
        host.workers.send(host.workers.on("http.request")[0], {"content": "no bytes", "more_content": True})
        with pytest.raises(http.client.IncompleteRead):
            response.read()
        connection.close()


def test_websocket_messages_come_back_in_order() -> None:
    with hosted() as host, connect(host.url()) as client:
        for number in range(50):
            client.send(str(number))
        assert [client.recv(timeout=20) for _ in range(50)] == [str(number) for number in range(50)]
        client.send(b"\xff")
        assert client.recv(timeout=20) == b"\xff"


def test_a_websocket_is_closed_from_either_side_and_told_once() -> None:
    def bye(workers: Workers, delivery: Delivery) -> None:
        workers.reply(delivery, {"close": 4001})

    with hosted({"websocket.receive": bye}) as host:
        with connect(host.url()) as client:
            client.send("x")
            with pytest.raises(ConnectionClosed) as caught:
                client.recv(timeout=20)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 4001
        with connect(host.url()) as client:
            client.close(4002)
        codes = sorted(item.message["code"] for item in host.workers.wait_for("websocket.disconnect", 2))
        assert codes == [4001, 4002]


@pytest.mark.parametrize(("consumer", "status"), [("deny", 403), ("silent", 503)])
def test_a_refused_handshake_has_its_status(consumer: str, status: int) -> None:
    def deny(workers: Workers, delivery: Delivery) -> None:
        workers.reply(delivery, {"accept": False})

    consumers = {"websocket.connect": deny if consumer == "deny" else silent}
    with hosted(consumers, accept_timeout=0.3) as host:
        with pytest.raises(InvalidStatus) as caught, connect(host.url()):
            pass
        assert caught.value.response.status_code == status


def test_a_message_over_the_limit_is_1009() -> None:
    with hosted(websocket_max_message=1000) as host, connect(host.url()) as client:
        client.send("é" * 501)
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(timeout=20)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009


def test_stopping_the_server_tells_consumers_of_every_socket() -> None:
    with hosted() as host, connect(host.url()) as client:
        client.send("x")
        client.recv(timeout=20)
        host.server.should_exit = True
        host.workers.wait_for("websocket.disconnect")


def test_it_begins_with_the_first_connection_if_there_is_no_lifespan() -> None:
    layer = MemoryChannelLayer()

    async def run() -> list[dict[str, Any]]:
        application = Application(layer, Options(http_timeout=0.2))
        sent: list[dict[str, Any]] = []
        received = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> dict[str, Any]:
            event = next(received, None)
            if event is None:
                await asyncio.sleep(60)
            return event  # type: ignore[return-value]

        async def send(event: dict[str, Any]) -> None:
            sent.append(event)

        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
        await application(scope, receive, send)
        await application.shutdown()
        return sent

    sent = asyncio.run(run())
    assert sent[0]["status"] == 504


def test_a_connection_of_another_type_is_one_sentence() -> None:
    async def run() -> None:
        await Application(MemoryChannelLayer())({"type": "carrier pigeon"}, None, None)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="no ASGI connection of type 'carrier pigeon' is served here"):
        asyncio.run(run())
