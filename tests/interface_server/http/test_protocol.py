"""HTTP on a real socket: what goes in and out, limits, and hostile requests."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from channel_layer.delivery import Delivery
from tests.conftest import wait_until
from tests.interface_server.helpers import (
    Running,
    Workers,
    body_of,
    fields_of,
    read_all,
    respond,
    running,
    silent,
    status_of,
)


def describe(workers: Workers, delivery: Delivery) -> None:
    """Answer with the body."""
    workers.reply(delivery, {"status": 200, "headers": [[b"Content-Type", b"text/plain"]],
                             "content": delivery.message["body"]})  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running({"http.request": describe}) as run:
        yield run


def in_text(workers: Workers, delivery: Delivery) -> None:
    """Answer with headers as text, as code for Channels 1 does."""
    headers = [("Content-Type", "text/event-stream"), (b"X-Mixed", "Zo\xeb"), ("Content-Length", "2")]
    workers.reply(delivery, {"status": 200, "headers": headers, "content": b"ok"})


def test_headers_may_be_text() -> None:
    with running({"http.request": in_text}) as run:
        response = run.get("/")
    assert (status_of(response), body_of(response)) == (200, b"ok")
    assert b"\r\nContent-Type: text/event-stream\r\n" in response
    assert b"\r\nX-Mixed: Zo\xeb\r\n" in response


def last_request(server: Running) -> dict[str, object]:
    return server.workers.on("http.request")[-1].message


def test_a_request_becomes_a_message_and_the_answer_a_response(server: Running) -> None:
    response = server.get("/caf%C3%A9/x?a=1&b=%20", "X-Thing: yes\r\nContent-Length: 3\r\n", "POST", b"abc")
    assert status_of(response) == 200
    assert body_of(response) == b"abc"
    assert fields_of(response)["content-length"] == "3"
    assert "date" in fields_of(response)
    assert "server" not in fields_of(response)
    message = last_request(server)
    assert message["path"] == "/café/x"
    assert message["query_string"] == b"a=1&b=%20"
    assert message["method"] == "POST"
    assert message["scheme"] == "http"
    assert message["http_version"] == "1.1"
    assert message["body"] == b"abc"
    assert [b"x-thing", b"yes"] in message["headers"]  # type: ignore[operator]
    assert message["client"][0] == "127.0.0.1"  # type: ignore[index]
    assert message["server"] == ["127.0.0.1", server.port]


def test_a_connection_carries_many_requests(server: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for number in range(20):
        connection.request("POST", "/", body=b"%d" % number)
        assert connection.getresponse().read() == b"%d" % number
    connection.close()


def test_a_body_sent_in_chunks_arrives_whole(server: Running) -> None:
    chunks = b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
    assert body_of(server.get("/", "Transfer-Encoding: chunked\r\n", "POST", chunks)) == b"abcdefg"


def test_the_client_is_told_to_go_on_if_it_expects_that(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"ok")
        assert connection.recv(1000).endswith(b"ok")


def test_pipelined_requests_are_answered_in_order() -> None:
    def slow_first(workers: Workers, delivery: Delivery) -> None:
        def answer() -> None:
            if delivery.message["path"] == "/slow":
                time.sleep(0.2)
            workers.reply(delivery, {"status": 200, "content": delivery.message["path"].encode()})

        threading.Thread(target=answer).start()

    with running({"http.request": slow_first}) as server:
        request = "GET {} HTTP/1.1\r\nHost: x\r\n{}\r\n"
        received = server.ask((request.format("/slow", "") + request.format("/fast", "Connection: close\r\n")).encode())
        assert received.index(b"/slow") < received.index(b"/fast")


def test_an_upgrade_behind_a_pipelined_request_is_not_made_and_the_request_is_answered() -> None:
    with running({"http.request": silent}) as server, server.connect() as connection:
        connection.sendall(
            b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        [request] = server.workers.wait_for("http.request")
        server.workers.reply(request, {"status": 200, "content": b"first"})
        response = read_all(connection)
        assert status_of(response) == 200
        assert body_of(response) == b"first"
        assert fields_of(response)["connection"] == "close"
        assert server.workers.on("websocket.connect") == []


def test_a_hundred_pipelined_requests_are_all_answered(server: Running) -> None:
    one = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n%03d"
    last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received = server.ask(b"".join(one % number for number in range(100)) + last)
    positions = [received.index(b"\r\n\r\n%03d" % number) for number in range(100)]
    assert positions == sorted(positions)


def test_a_head_request_gets_the_length_but_no_body() -> None:
    with running({"http.request": respond(b"", headers=[(b"Content-Length", b"12")])}) as server:
        response = server.get(method="HEAD")
        assert fields_of(response)["content-length"] == "12"
        assert body_of(response) == b""


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_content_has_no_body_on_the_wire(status: int) -> None:
    with running({"http.request": respond(b"surplus", status)}) as server:
        response = server.get()
        assert status_of(response) == status
        assert body_of(response) == b""
        assert "transfer-encoding" not in fields_of(response)


def test_a_streamed_response_is_chunked_and_complete() -> None:
    def stream(workers: Workers, delivery: Delivery) -> None:
        workers.send(delivery, {"status": 200, "content": b"one ", "more_content": True})
        workers.send(delivery, {"content": b"two ", "more_content": True})
        workers.send(delivery, {"content": b"three", "more_content": False})

    with running({"http.request": stream}) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("GET", "/")
        response = connection.getresponse()
        assert response.getheader("transfer-encoding") == "chunked"
        assert response.read() == b"one two three"
        connection.close()


def test_a_client_of_http_1_0_gets_no_chunks_and_the_end_of_the_connection() -> None:
    def stream(workers: Workers, delivery: Delivery) -> None:
        workers.send(delivery, {"status": 200, "content": b"one ", "more_content": True})
        workers.send(delivery, {"content": b"two", "more_content": False})

    with running({"http.request": stream}) as server:
        response = server.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert body_of(response) == b"one two"
        assert "transfer-encoding" not in fields_of(response)


def test_a_response_longer_than_its_content_length_does_not_leak_into_the_next() -> None:
    def stream(workers: Workers, delivery: Delivery) -> None:
        head = {"status": 200, "headers": [(b"Content-Length", b"3")]}
        workers.send(delivery, {**head, "content": b"ab", "more_content": True})
        workers.send(delivery, {"content": b"cd", "more_content": False})

    with running({"http.request": stream}) as server:
        assert body_of(server.get()) == b"ab"


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 200, "headers": [(b"X-Name", b"a\r\nSet-Cookie: x")], "content": b""},
        {"status": 200, "headers": [(b"X Name", b"a")], "content": b""},
        {"status": 200, "headers": [(7, b"a")], "content": b""},
        {"status": 200, "headers": "none", "content": b""},
        {"status": "200", "content": b""},
        {"status": 99, "content": b""},
        {"status": 200, "content": "text"},
        {"content": b"no status"},
        {"status": 200, "headers": [(b"Content-Length", b"5")], "content": b"four"},
    ],
)
def test_a_response_that_must_not_go_out_is_a_500(answer: dict[str, object]) -> None:
    def answer_so(workers: Workers, delivery: Delivery) -> None:
        workers.reply(delivery, answer)

    with running({"http.request": answer_so}) as server:
        response = server.get()
        assert status_of(response) == 500
        assert b"Set-Cookie" not in response
        assert b"four" not in response


def collect(workers: Workers, delivery: Delivery) -> None:
    """Answer with the length of the body and what the headers say about it, reporting what was read."""
    size, channel = len(delivery.message["body"]), delivery.message.get("body_channel")
    while channel:
        for chunk in workers.layer.receive_batch([channel], limit=1, timeout=30):
            assert len(chunk.message["content"]) <= 262_144
            size += len(chunk.message["content"])
            workers.send(delivery, {}, read=size)
            if not chunk.message["more_content"]:
                channel = None
    fields = dict(delivery.message["headers"])
    said = fields.get(b"content-length", b"none")
    workers.reply(delivery, {"status": 200, "content": b"%d %b" % (size, said), "headers": [
        [b"X-Coding", fields.get(b"transfer-encoding", b"none")],
    ]})  # fmt: skip


@pytest.mark.parametrize("size", [10, 262_144, 300_000, 5_000_000])
def test_a_body_of_any_size_arrives_whole_and_with_its_length_however_it_is_sent(size: int) -> None:
    with running({"http.request": collect}) as server:
        whole = server.get("/", f"Content-Length: {size}\r\n", "POST", b"x" * size)
        chunk = b"%x\r\n%b\r\n" % (size // 2, b"x" * (size // 2))
        parts = server.get("/", "Transfer-Encoding: chunked\r\n", "POST", 2 * chunk + b"0\r\n\r\n")
        for response in (whole, parts):
            assert body_of(response) == b"%d %d" % (size, size)
            assert fields_of(response)["x-coding"] == "none"
        wait_until(lambda: server.context.spools.file.used == 0, "the spool file to be empty")


def test_requests_behind_a_large_body_get_their_turn() -> None:
    with running({"http.request": collect}) as server:
        large = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
        last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        received = server.ask(large + large + last)
        assert received.count(b"1000000 1000000") == 2
        assert received.endswith(b"0 none")


def test_a_body_of_exactly_the_inline_limit_needs_no_channel() -> None:
    with running({"http.request": describe}, body_inline=1000) as server:
        assert len(body_of(server.get("/", "Content-Length: 1000\r\n", "POST", b"x" * 1000))) == 1000
        assert "body_channel" not in last_request(server)


def test_a_client_that_leaves_in_the_middle_of_its_body_is_nobodys_business() -> None:
    with running({"http.request": silent}) as server:
        file = server.context.spools.file
        with server.connect() as connection:
            connection.sendall(b"POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 900_000)
            wait_until(lambda: file.used, "the body on the disk")
        wait_until(lambda: file.used == 0 and file.memory == 0, "the body to be dropped")
        assert server.workers.on("http.request") == []


def test_while_the_room_for_bodies_is_taken_large_ones_get_503_and_small_ones_pass() -> None:
    with running({"http.request": collect}, spool_bytes=300_000) as server, server.connect() as first:
        head = b"POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n"
        first.sendall(head + b"x" * 800_000)
        assert status_of(read_all(first)) == 503
        assert body_of(server.get("/", "Content-Length: 5\r\n", "POST", b"small")) == b"5 5"
        wait_until(lambda: server.context.spools.file.used == 0, "the body to be dropped")


def test_a_client_that_leaves_in_the_middle_of_its_body_closes_the_body_channel() -> None:
    with running({"http.request": silent}, body_inline=10, body_chunk=10, stream_bodies=True) as server:
        with server.connect() as connection:
            connection.sendall(b"POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"x" * 30)
            channel = server.workers.wait_for("http.request")[0].message["body_channel"]
        server.workers.wait_for("http.disconnect")
        chunks: list[dict[str, object]] = []

        def closed() -> bool:
            chunks.extend(item.message for item in server.layer.receive_batch([channel], limit=10))
            return bool(chunks and chunks[-1]["closed"])

        wait_until(closed, "the chunk that says closed")


def test_a_body_whose_length_is_over_the_limit_is_refused_before_it_is_sent() -> None:
    with running(body_max=1000) as server:
        response = server.ask(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n")
        assert status_of(response) == 413
        assert server.workers.on("http.request") == []


def test_a_client_that_sends_a_body_over_the_limit_at_once_gets_to_read_the_413() -> None:
    with running(body_max=1000) as server:
        size = 3_000_000
        assert status_of(server.get("/", f"Content-Length: {size}\r\n", "POST", b"x" * size)) == 413


@pytest.mark.parametrize("streams", [False, True])
def test_a_chunked_body_over_the_limit_is_cut_off_with_413(streams: bool) -> None:
    with running({"http.request": silent}, body_max=1000, body_inline=100, stream_bodies=streams) as server:
        response = server.get(
            "/", "Transfer-Encoding: chunked\r\n", "POST", b"64\r\n" + b"x" * 100 + b"\r\n" + b"800\r\n" + b"y" * 2048
        )
        assert status_of(response) == 413


def test_a_client_that_leaves_before_the_answer_is_told_to_consumers() -> None:
    with running({"http.request": silent}) as server:
        with server.connect() as connection:
            connection.sendall(b"GET /left HTTP/1.1\r\nHost: x\r\n\r\n")
            request = server.workers.wait_for("http.request")[0]
        left = server.workers.wait_for("http.disconnect")[0]
        assert left.message == {"reply_channel": request.message["reply_channel"], "path": "/left"}
        flow = request.headers["flow"]  # type: ignore[index,typeddict-item]
        assert reports_up_to_the_end(server, flow) == [{"closed": True}]


def test_no_disconnect_follows_a_complete_answer(server: Running) -> None:
    before = len(server.workers.on("http.request"))
    server.get()
    server.get("/after")
    server.workers.wait_for("http.request", before + 2)
    assert server.workers.on("http.disconnect") == []


def test_a_request_nobody_answers_gets_504() -> None:
    with running({"http.request": silent}, http_timeout=0.3) as server:
        assert status_of(server.get()) == 504
        server.workers.wait_for("http.disconnect")


def test_a_full_channel_is_a_503_that_says_when_to_come_back() -> None:
    from channel_layer.memory import MemoryChannelLayer

    layer = MemoryChannelLayer(channel_capacity={"http.request": 1})
    layer.send("http.request", {})
    with running({"http.request": silent}, layer=layer) as server:
        server.workers.stop()
        layer.receive_batch(["http.request"])
        layer.send("http.request", {})
        response = server.get()
        assert status_of(response) == 503
        assert fields_of(response)["retry-after"] == "5"


def test_names_with_an_underscore_and_the_root_path_of_a_client_are_dropped(server: Running) -> None:
    server.get("/", "X_Forwarded_For: 1.2.3.4\r\nRemote_User: root\r\nDaphne-Root-Path: /evil\r\nX-Kept: 1\r\n")
    message = last_request(server)
    names = [name for name, _ in message["headers"]]  # type: ignore[attr-defined]
    assert b"x-kept" in names
    assert not any(b"_" in name or name == b"daphne-root-path" for name in names)
    assert message["root_path"] == ""


HOST = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(HOST + b"X-A: b\x01c\r\n\r\n", id="control character"),
        pytest.param(HOST + b"X-A: b\x7fc\r\n\r\n", id="delete character"),
        pytest.param(POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", id="length and chunks"),
        pytest.param(POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", id="two lengths"),
        pytest.param(POST + b"Transfer-Encoding: xchunked\r\n\r\nabcd", id="unknown coding"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n", id="bad end of a chunk"),
        pytest.param(b"GET / HTTP/1.1\nHost: x\n\n", id="bare line feeds"),
        pytest.param(HOST + b"X-A: b\r\n c\r\n\r\n", id="folded line"),
        pytest.param(HOST + b"X-A : b\r\n\r\n", id="space before the colon"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(HOST + b"Host: y\r\n\r\n", id="two hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: bad host\r\n\r\n", id="space in the host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", id="two hosts in one"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", id="user in the host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: h/p\r\n\r\n", id="path in the host"),
        pytest.param(b"GET http:///path HTTP/1.1\r\nHost: x\r\n\r\n", id="absolute target without a host"),
        pytest.param(b"GET http://h/ HTTP/1.1\r\n\r\n", id="absolute target without a Host field"),
        pytest.param(b"GET /\r\n\r\n", id="no version"),
        pytest.param(b"GET / HTTP/0.9\r\nHost: x\r\n\r\n", id="HTTP/0.9"),
        pytest.param(b"DESCRIBE / RTSP/1.0\r\nHost: x\r\n\r\n", id="RTSP"),
        pytest.param(b"P\tURGE / HTTP/1.1\r\nHost: x\r\n\r\n", id="no method"),
        pytest.param(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="chunks in HTTP/1.0"),
        pytest.param(b"GET nowhere HTTP/1.1\r\nHost: x\r\n\r\n", id="no path"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS on a plain port"),
        pytest.param(HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                     b"X-A: b\x01\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", id="control in upgrade"),
    ],
)  # fmt: skip
def test_what_is_no_proper_request_gets_400(server: Running, request_bytes: bytes) -> None:
    before = len(server.workers.on("http.request"))
    assert status_of(server.ask(request_bytes)) == 400
    good = server.get("/good")
    assert status_of(good) == 200
    assert [
        item.message["path"] for item in server.workers.on("http.request")[before:] if not item.message["body"]
    ] == ["/good"]


def test_too_many_or_too_large_fields_get_431() -> None:
    with running(header_max_bytes=4096, header_max_fields=20, request_line_max=512) as server:
        assert status_of(server.get("/", "".join(f"X-{n}: 1\r\n" for n in range(17)))) == 200
        assert status_of(server.get("/", "".join(f"X-{n}: 1\r\n" for n in range(19)))) == 431
        assert status_of(server.get("/", "X: 1\r\n" * 10_000)) == 431
        assert status_of(server.get("/", "X: " + "a" * 5000 + "\r\n")) == 431
        assert status_of(server.get("/" + "a" * 400)) == 200
        assert status_of(server.get("/" + "a" * 600)) == 414


def test_a_field_without_end_is_not_gathered_for_ever() -> None:
    with running(header_max_bytes=4096) as server:
        assert status_of(server.ask(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 3_000_000)) == 431


def test_a_body_in_front_of_a_head_does_not_count_as_part_of_it() -> None:
    following = b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with running(header_max_bytes=1000, request_line_max=500) as server, server.connect() as connection:
        connection.sendall(POST + b"Content-Length: 5000\r\n\r\n" + b"a" * 5000 + following[:30])
        wait_until(lambda: server.workers.on("http.request"), "the first request")
        connection.sendall(following[30:])
        assert read_all(connection).count(b"HTTP/1.1 200 OK") == 2


def test_a_client_that_trickles_its_headers_is_closed() -> None:
    with running(header_timeout=0.5) as server, server.connect() as trickling, server.connect() as silent_one:
        trickling.sendall(b"GET / HTTP/1.1\r\nHos")
        assert status_of(read_all(trickling)) == 408
        assert status_of(read_all(silent_one)) == 408


def test_an_idle_connection_is_closed() -> None:
    with running(keep_alive=0.2) as server, server.connect() as connection:
        connection.sendall(HOST + b"\r\n")
        assert read_all(connection).endswith(b"ok")


def test_a_client_that_stops_in_the_middle_of_a_body_gets_408() -> None:
    with running(body_timeout=0.3) as server, server.connect() as connection:
        connection.sendall(POST + b"Content-Length: 10\r\n\r\nabc")
        assert status_of(read_all(connection)) == 408


def test_a_connection_over_the_limit_gets_503() -> None:
    with running(max_connections=2) as server:
        with server.connect() as first, server.connect() as second:
            for connection in (first, second):
                connection.sendall(HOST + b"\r\n")
                assert connection.recv(1000).endswith(b"ok")
            response = server.get()
            assert status_of(response) == 503
            assert fields_of(response)["retry-after"] == "5"
        wait_until(lambda: len(server.server._open) == 0, "the connections to go")
        assert status_of(server.get()) == 200


def reports_up_to_the_end(server: Running, flow: str) -> list[dict[str, Any]]:
    """What the producer of a response is told, once it is told that the client is gone."""
    told: list[dict[str, Any]] = []

    def is_closed() -> bool:
        told.extend(item.message for item in server.layer.receive_batch([flow], limit=100))
        return any("closed" in report for report in told)

    wait_until(is_closed, "the report of the end")
    return told


def test_flow_reports_follow_the_client_and_a_deaf_producer_is_cut_off() -> None:
    block = b"x" * 524_288

    def produce(workers: Workers, delivery: Delivery) -> None:
        workers.send(delivery, {"status": 200, "content": b"", "more_content": True})
        for _ in range(60):
            workers.send(delivery, {"content": block, "more_content": True})

    limits = {"response_buffer": 4_000_000, "response_spool": 4_000_000}
    with running({"http.request": produce}, **limits) as server, server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.sendall(HOST + b"\r\n")
        flow = server.workers.wait_for("http.request")[0].headers["flow"]  # type: ignore[index,typeddict-item]
        server.workers.wait_for("http.disconnect")
        assert reports_up_to_the_end(server, flow)[-1] == {"closed": True}
        assert len(read_all(connection)) < 60 * len(block)


def test_a_producer_that_keeps_pace_gets_reports_up_to_the_end() -> None:
    block = b"x" * 524_288

    def produce(workers: Workers, delivery: Delivery) -> None:
        flow, written, sent = delivery.headers["flow"], 0, 0  # type: ignore[index,typeddict-item]
        workers.send(delivery, {"status": 200, "content": b"", "more_content": True})
        for _ in range(40):
            while sent - written >= 2_097_152:
                for report in workers.layer.receive_batch([flow], limit=10, timeout=30):
                    written = report.message["written"]
            workers.send(delivery, {"content": block, "more_content": True})
            sent += len(block)
        workers.send(delivery, {"content": b"end", "more_content": False})

    with running({"http.request": produce}, response_buffer=4_000_000) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("GET", "/")
        response = connection.getresponse()
        size = 0
        while piece := response.read(1_000_000):
            size += len(piece)
        assert size == 40 * len(block) + 3
        connection.close()


LARGE = bytes(range(256)) * 4_096


def produce_large(workers: Workers, delivery: Delivery) -> None:
    """Send 10 MiB at the pace of the reports."""
    sent = written = 0
    headers: dict[str, object] = {"flow": "worker.test!1"}
    head = {"status": 200, "headers": []}
    while sent < 10 * len(LARGE):
        if sent - written < 2_097_152:
            for start in range(0, len(LARGE), 524_288):
                message = {**head, "content": LARGE[start : start + 524_288], "more_content": True}
                workers.send(delivery, message, **headers)
                head, headers = {}, {}
            sent += len(LARGE)
        else:
            for report in workers.layer.receive_batch(["worker.test!"], limit=10, timeout=30):
                written = report.message["written"]
    workers.send(delivery, {"content": b"", "more_content": False})


@pytest.fixture
def slow_reader() -> Iterator[tuple[Running, socket.socket]]:
    """A client that has asked for 10 MiB and read nothing when the worker is through with it."""
    done = threading.Event()

    def produce(workers: Workers, delivery: Delivery) -> None:
        produce_large(workers, delivery)
        done.set()

    with running({"http.request": produce}, graceful_timeout=20) as server, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert done.wait(20), "the worker waits for the client"
        wait_until(lambda: server.context.spools.file.used, "the response on the disk")
        yield server, connection


def test_a_client_that_does_not_read_holds_no_worker_and_loses_nothing(
    slow_reader: tuple[Running, socket.socket],
) -> None:
    server, connection = slow_reader
    file = server.context.spools.file
    wait_until(lambda: file.memory <= 65_536, "the memory to be left")
    response = http.client.HTTPResponse(connection)
    response.begin()
    assert response.read() == 10 * LARGE
    wait_until(lambda: (file.used, file.memory) == (0, 0), "everything to be given back")
    assert server.workers.on("http.disconnect") == []


def test_a_client_that_leaves_what_waits_for_it_gives_the_disk_back(
    slow_reader: tuple[Running, socket.socket],
) -> None:
    server, connection = slow_reader
    connection.close()
    server.workers.wait_for("http.disconnect")
    wait_until(lambda: server.context.spools.file.used == 0, "the disk to be given back")


def test_a_server_that_stops_has_what_waits_for_slow_clients_read_within_the_grace(
    slow_reader: tuple[Running, socket.socket],
) -> None:
    server, connection = slow_reader
    server.server.should_exit = True
    wait_until(lambda: server.context.stopping, "the server to stop")
    response = http.client.HTTPResponse(connection)
    response.begin()
    assert response.read() == 10 * LARGE
    server.stop()


def test_a_client_that_stopped_reading_what_waits_for_it_is_cut_off() -> None:
    def produce(workers: Workers, delivery: Delivery) -> None:
        workers.send(delivery, {"status": 200, "content": LARGE, "more_content": True})
        for _ in range(9):
            workers.send(delivery, {"content": LARGE, "more_content": True})
        workers.send(delivery, {"content": b"", "more_content": False})

    with running({"http.request": produce}, http_timeout=1) as server, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(HOST + b"\r\n")
        server.workers.wait_for("http.disconnect")
        assert len(read_all(connection)) < 10 * len(LARGE)


def test_a_producer_whose_client_left_before_it_began_hears_of_it_at_once() -> None:
    with running({"http.request": silent}) as server:
        with server.connect() as connection:
            connection.sendall(HOST + b"\r\n")
            request = server.workers.wait_for("http.request")[0]
        server.workers.wait_for("http.disconnect")
        first = {"status": 200, "content": b"", "more_content": True}
        server.workers.send(request, first, flow="worker.late!1")
        deliveries = server.layer.receive_batch(["worker.late!"], timeout=30)
        assert [(found.channel, found.message) for found in deliveries] == [("worker.late!1", {"closed": True})]


def test_a_plain_upgrade_request_to_something_else_is_answered_as_http(server: Running) -> None:
    offer = HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n"
    answers = server.ask(offer + offer + HOST + b"Connection: close\r\n\r\n")
    assert answers.count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505, id="HTTP/2.0"),
        pytest.param(b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505, id="HTTP/3.0"),
        pytest.param(b"PURGE / HTTP/2.7\r\nHost: x\r\n\r\n", 505, id="HTTP/2.7 with an unknown method"),
        pytest.param(POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, id="compressed chunks"),
        pytest.param(
            POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501, id="the same in two"
        ),
        pytest.param(b"X" * 9_000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n", 414, id="method without end"),
    ],
)
def test_what_this_server_does_not_speak_has_a_status_of_its_own(
    server: Running, request_bytes: bytes, status: int
) -> None:
    before = len(server.workers.on("http.request"))
    response = server.ask(request_bytes)
    assert status_of(response) == status
    assert response.lower().count(b"connection: close") == 1
    assert len(server.workers.on("http.request")) == before


def test_a_later_minor_version_is_read_as_the_highest_known(server: Running) -> None:
    response = server.ask(b"GET /later HTTP/1.2\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 200")
    assert last_request(server)["http_version"] == "1.1"


@pytest.mark.parametrize("method", ["PURGE", "get", "DESCRIBE", "PROPFIND", "X-NEW"])
@pytest.mark.parametrize("size", [1, 7, 1_000], ids=lambda size: f"{size} bytes a read")
def test_any_method_reaches_the_application_with_its_body(server: Running, method: str, size: int) -> None:
    request = b"%b /any HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde" % method.encode()
    following = b"GET /following HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = b"\r\n" + request + following
        for start in range(0, len(data), size):
            connection.sendall(data[start : start + size])
        answers = read_all(connection)
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert b"abcde" in answers
    first, second = (delivery.message for delivery in server.workers.on("http.request")[-2:])
    assert (first["method"], first["path"], first["body"]) == (method, "/any", b"abcde")
    assert (second["method"], second["path"], second["body"]) == ("GET", "/following", b"")


@pytest.mark.parametrize("at_once", [True, False], ids=["in one read", "in two"])
def test_the_end_of_a_body_never_becomes_part_of_the_next_request_line(server: Running, at_once: bool) -> None:
    before = len(server.workers.on("http.request"))
    rest, end = b"abcPROPFI", b"X /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(rest + end if at_once else rest)
        if not at_once:
            wait_until(lambda: len(server.workers.on("http.request")) > before, "the first request")
            connection.sendall(end)
        assert b"PROPFIX" not in read_all(connection)
    assert [delivery.message["method"] for delivery in server.workers.on("http.request")[before:]] == ["POST"]


def test_white_space_around_a_value_is_no_part_of_it(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost:x \t\r\nExpect:  100-continue\t \r\nX-Thing: \t a b \t\r\n"
            b"Connection: close \r\nContent-Length: 3 \r\n\r\n"
        )
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert body_of(read_all(connection)) == b"abc"
    headers = last_request(server)["headers"]
    assert [b"host", b"x"] in headers  # type: ignore[operator]
    assert [b"x-thing", b"a b"] in headers  # type: ignore[operator]


def test_the_authority_of_an_absolute_target_takes_the_place_of_the_host(server: Running) -> None:
    request = b"GET http://named.example:81?next=/admin/x HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n"
    assert status_of(server.ask(request)) == 200
    message = last_request(server)
    assert (message["path"], message["query_string"]) == ("/", b"next=/admin/x")
    hosts = [value for name, value in message["headers"] if name == b"host"]  # type: ignore[attr-defined]
    assert hosts == [b"named.example:81"]


@pytest.mark.parametrize(
    ("framing", "body"),
    [(b"Content-Length: 3", b"a=1"), (b"Transfer-Encoding: chunked", b"3\r\na=1\r\n0\r\n\r\n")],
    ids=["length", "chunks"],
)
@pytest.mark.parametrize("at_once", [True, False], ids=["in one read", "in several"])
def test_the_body_of_a_request_that_offers_another_protocol_belongs_to_it(
    server: Running, framing: bytes, body: bytes, at_once: bool
) -> None:
    head = POST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n" + framing
    following = b"GET /following HTTP/1.1\r\nHost: x\r\nX-Last: 1\r\nConnection: close\r\n\r\n"
    data = head + b"\r\n\r\n" + body + following
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in [data] if at_once else [data[n : n + 1] for n in range(len(data))]:
            connection.sendall(piece)
        answers = read_all(connection)
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    first, second = (delivery.message for delivery in server.workers.on("http.request")[-2:])
    assert (first["path"], first["body"]) == ("/", b"a=1")
    assert (second["path"], second["body"]) == ("/following", b"")
    assert [b"x-last", b"1"] in second["headers"]


def test_a_consumer_that_closes_the_connection_too_says_so_once() -> None:
    with running({"http.request": respond(headers=[[b"Connection", b"close"]])}) as server:
        assert server.get().lower().count(b"connection: close") == 1
