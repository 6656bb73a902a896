"""HTTP on a server that is not ours."""

from __future__ import annotations

import http.client
import socket
import threading

import pytest

from channel_layer.delivery import Delivery
from tests.conftest import wait_until
from tests.interface_server.helpers import PARTS, Workers, in_parts, silent
from tests.interface_server.hosted import hosted


def body(workers: Workers, delivery: Delivery) -> None:
    """Answer with the length of the body, wherever it travelled."""
    size = len(delivery.message["body"])
    more = "body_channel" in delivery.message
    while more:
        for chunk in workers.layer.receive_batch([delivery.message["body_channel"]], timeout=30):
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


def test_a_client_that_does_not_read_holds_no_worker_and_loses_nothing() -> None:
    done = threading.Event()

    with hosted({"http.request": in_parts(done)}) as host, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", host.port))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert done.wait(20), "the worker waits for the client"
        wait_until(lambda: host.application.gateway.context.spools.file.used, "the response on the disk")
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.read() == b"".join(PARTS)


def test_a_body_in_chunks_has_its_length() -> None:
    with hosted({"http.request": body}) as host:
        assert host.request("POST", iter([b"x" * 200_000] * 2)) == (200, b"400000")  # type: ignore[arg-type]
        headers = dict(host.workers.on("http.request")[0].message["headers"])
        assert headers[b"content-length"] == b"400000"
        assert b"transfer-encoding" not in headers


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
