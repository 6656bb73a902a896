"""What a server waits for when it stops, for how long, and what it says about it."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from channel_layer.delivery import Delivery
from channel_layer.memory import MemoryChannelLayer
from interface_server.http.exchange import ExchangePhase
from tests.conftest import wait_until
from tests.interface_server.helpers import Running, Workers, body_of, read_all, running, silent, status_of

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
REQUEST = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(autouse=True)
def steps(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "interface_server.server")
    return caplog


@contextlib.contextmanager
def stopped(server: Running) -> Iterator[None]:
    """The server is asked to stop, and has done so at the end of the block."""
    server.server.should_exit = True
    wait_until(lambda: server.context.stopping, "the server to begin to stop")
    yield
    server.thread.join(30)
    assert not server.thread.is_alive()


@pytest.mark.parametrize(("request_", "channel"), [(UPGRADE, "websocket.connect"), (REQUEST % 1, "http.request")])
def test_nobody_waits_for_what_no_worker_takes(request_: bytes, channel: str, steps: pytest.LogCaptureFixture) -> None:
    layer = MemoryChannelLayer()
    with running(layer=layer, graceful_timeout=60, accept_timeout=120) as server, server.connect() as client:
        server.workers.stop()
        client.sendall(request_)
        wait_until(lambda: layer.channel_statistics(channel)["messages_pending"], "the message")
        began = time.monotonic()
        with stopped(server):
            assert status_of(read_all(client)) == 503
        assert time.monotonic() - began < 20  # shares of the time would be 30 s, or 51
        assert [item.channel for item in layer.receive_batch([channel])] == [channel]
        if channel == "websocket.connect":
            assert layer.receive_batch(["websocket.disconnect"])[0].message["code"] == 1006
    assert "no worker takes messages; not waiting for" in steps.text


def test_what_waits_behind_others_is_waited_for_while_workers_take_them() -> None:
    all_here = threading.Event()

    def slowly(workers: Workers, delivery: Delivery) -> None:
        assert all_here.wait(20)
        time.sleep(0.1)
        workers.reply(delivery, {"status": 200, "content": b"done"})

    with running({"http.request": slowly}, graceful_timeout=60) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(20)]
        for number, client in enumerate(clients):
            client.sendall(REQUEST % number)
        wait_until(lambda: len(server.context.connections) == 20, "all requests")
        with stopped(server):
            all_here.set()
            assert [body_of(read_all(client)) for client in clients] == [b"done"] * 20


def test_endless_responses_are_cut_after_a_share_of_the_time_and_others_may_finish(
    steps: pytest.LogCaptureFixture,
) -> None:
    def begin(workers: Workers, delivery: Delivery) -> None:
        endless = delivery.message["path"] == "/1"
        headers = [] if endless else [(b"Content-Length", b"10")]
        workers.reply(delivery, {"status": 200, "headers": headers, "content": b"first", "more_content": True})

    with running({"http.request": begin}, graceful_timeout=6) as server:
        with server.connect() as endless, server.connect() as bounded:
            endless.sendall(REQUEST % 1)
            bounded.sendall(REQUEST % 2)
            assert endless.recv(10_000).startswith(b"HTTP/1.1 200")
            assert bounded.recv(10_000).startswith(b"HTTP/1.1 200")
            asked = server.workers.wait_for("http.request", 2)
            [rest] = [item for item in asked if item.message["path"] == "/2"]
            began = time.monotonic()
            with stopped(server):
                received = read_all(endless)
                assert not received.endswith(b"0\r\n\r\n")
                # No upper limit: what is not done when the whole time is over would be cut, too, and never be whole.
                assert time.monotonic() - began > 0.8
                server.workers.reply(rest, {"content": b"whole"})
                assert read_all(bounded).endswith(b"whole")
        assert [item.message["path"] for item in server.workers.wait_for("http.disconnect")] == ["/1"]
    assert "cut 1 responses of unknown length" in steps.text


def test_a_client_that_reads_slowly_gets_all_of_a_response_that_was_under_way() -> None:
    size = 20_000_000

    def large(workers: Workers, delivery: Delivery) -> None:
        workers.reply(delivery, {"status": 200, "content": b"x" * size})

    layer = MemoryChannelLayer(max_message_size=size + 1_000)
    with running({"http.request": large}, layer=layer, graceful_timeout=30) as server, server.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.sendall(REQUEST % 1)
        received = len(client.recv(1_000))
        with stopped(server):
            [exchange] = server.context.connections.values()
            wait_until(lambda: exchange.phase is ExchangePhase.EMPTYING, "the worker to be done")
            time.sleep(0.3)  # as a slow client does, and the server could cut it meanwhile
            received += len(read_all(client))
        assert received > size


def test_a_client_gets_time_to_answer_the_close_of_its_socket() -> None:
    with running(graceful_timeout=30) as server, server.connect() as client:
        client.sendall(UPGRADE)
        received = b""
        while b"\r\n\r\n" not in received:
            received += client.recv(1_000)
        wait_until(lambda: not server.context.uplink._bytes, "the socket to be quiet")
        with stopped(server):
            assert client.recv(1_000).startswith(b"\x88")
            server.workers.wait_for("websocket.disconnect")
            client.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.recv(1)
            client.sendall(Frame(Opcode.CLOSE, struct.pack("!H", 1012)).serialize(mask=True))
            assert client.recv(1) == b""


def test_what_is_not_done_in_time_is_cut_and_consumers_hear_of_it(steps: pytest.LogCaptureFixture) -> None:
    with running({"http.request": silent}, graceful_timeout=1) as server, server.connect() as client:
        client.sendall(REQUEST % 1)
        server.workers.wait_for("http.request")
        with stopped(server):  # ends within 30 s, and a request may wait for longer than that
            assert read_all(client) == b""
        server.workers.wait_for("http.disconnect")
    assert "cutting 1 connections" in steps.text


def test_draining_spreads_the_closes_and_everything_else_goes_on_meanwhile(steps: pytest.LogCaptureFixture) -> None:
    count, seconds = 20, 1.0
    reasons: list[str] = []
    closed_at: list[float] = []
    answered: list[str] = []

    def answer(workers: Workers, delivery: Delivery) -> None:
        workers.reply(delivery, {"status": 200, "content": b"done"})

    def echo(workers: Workers, delivery: Delivery) -> None:
        workers.reply(delivery, {"text": delivery.message["text"]})

    def stay(url: str) -> None:
        with connect(url) as client:
            here.release()
            try:
                while True:
                    client.send("still here")
                    answered.append(str(client.recv(timeout=20)))
                    time.sleep(0.05)
            except ConnectionClosed as end:
                closed_at.append(time.monotonic())
                reasons.append(f"{end.rcvd.code} {end.rcvd.reason}" if end.rcvd else "cut")

    here = threading.Semaphore(0)
    consumers = {"http.request": answer, "websocket.receive": echo}
    with running(consumers, graceful_timeout=20, drain_seconds=seconds) as server, ThreadPoolExecutor(count) as pool:
        for _ in range(count):
            pool.submit(stay, server.url())
        for _ in range(count):
            assert here.acquire(timeout=20)
        with server.connect() as idle, stopped(server):
            before = len(answered)
            assert idle.recv(1) == b""  # a connection without a request is closed at once
            wait_until(lambda: len(answered) > before, "an echo while others are closed")
    assert len(reasons) == count
    hints = [int(reason.removeprefix("1012 service restart; reconnect=")) for reason in reasons]
    assert all(0 <= hint <= 1_000 for hint in hints)
    assert len(set(hints)) > 1
    assert max(closed_at) - min(closed_at) > seconds / 2
    assert "closing 20 WebSockets one after the other, over 1 s" in steps.text


def test_draining_ends_with_the_last_socket() -> None:
    with running(graceful_timeout=20, drain_seconds=600) as server, server.connect() as client:
        client.sendall(UPGRADE)
        assert client.recv(1_000).startswith(b"HTTP/1.1 101")
        with stopped(server):
            client.close()


def test_a_second_interrupt_ends_the_draining() -> None:
    with running(graceful_timeout=20, drain_seconds=600) as server, server.connect() as client:
        client.sendall(UPGRADE)
        wait_until(lambda: not server.context.uplink._bytes and server.context.connections, "the socket")
        received = client.recv(1_000)
        assert received.startswith(b"HTTP/1.1 101")
        with stopped(server):
            server.server._is_hurried = True
