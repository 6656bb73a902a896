"""A server with more clients than the system has descriptors for, beside a broker whose connection breaks."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from websockets.sync.client import ClientConnection, connect

from channel_layer.redis.layer import RedisChannelLayer
from interface_server.endpoints import Endpoint
from interface_server.http import protocol as http_protocol
from interface_server.sockets.connections import Connections
from interface_server.sockets.descriptors import Shares, shares
from tests.conftest import wait_until
from tests.interface_server.helpers import Workers, fields_of, read_all, respond, running, status_of
from tests.interface_server.test_cli import daphne
from tests.interface_server.test_server import make_certificate

LIMIT = 256
OVER_REDIS = """
from channel_layer.redis.layer import RedisChannelLayer

layer = RedisChannelLayer(hosts=[{url!r}], prefix={prefix!r}, connection_kwargs={{"client_name": "web"}})
"""
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def knock(port: int, request: bytes = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") -> tuple[socket.socket, bytes]:
    """Ask on a connection of its own; the connection and what it begins to answer."""
    client = socket.create_connection(("127.0.0.1", port), 30)
    client.settimeout(30)
    with contextlib.suppress(ConnectionError):
        client.sendall(request)
        return client, client.recv(4_096)
    return client, b""


def knock_once(port: int) -> bytes:
    """The same, and go away."""
    client, answer = knock(port)
    client.close()
    return answer


@pytest.fixture
def workers(redis_url: str) -> Iterator[Workers]:
    workers = Workers(RedisChannelLayer(hosts=[redis_url], prefix="descriptors"), {"http.request": respond()})
    yield workers
    workers.stop()
    workers.layer.close()


def test_clients_never_take_the_descriptor_that_the_broker_needs(
    tmp_path: Path, redis_url: str, workers: Workers
) -> None:
    (tmp_path / "project.py").write_text(OVER_REDIS.format(url=redis_url, prefix="descriptors"))
    ended = threading.Event()
    refused: list[bytes] = []

    def go_on_knocking() -> None:
        while not ended.is_set():
            refused.append(knock_once(port))

    with contextlib.ExitStack() as stack:
        process, port = stack.enter_context(daphne(tmp_path, "project:layer", "--close-timeout", "1", files=LIMIT))
        talking: list[ClientConnection] = [
            stack.enter_context(connect(f"ws://127.0.0.1:{port}/", ping_interval=None)) for _ in range(20)
        ]
        answers = []
        for _ in range(LIMIT - 20):
            client, answer = knock(port, HANDSHAKE)
            answers.append(answer)
            if status_of(answer) == 101:
                stack.enter_context(contextlib.closing(client))
            else:
                client.close()
                break
        assert fields_of(answers[-1])["retry-after"] == "5"
        knocking = [threading.Thread(target=go_on_knocking) for _ in range(20)]
        for thread in knocking:
            thread.start()
        try:
            wait_until(lambda: len(refused) > 50, "clients to be turned away")
            with redis.Redis.from_url(redis_url) as admin:
                of_the_server = [found["id"] for found in admin.client_list() if found["name"] == "web"]
                for number in of_the_server:
                    admin.client_kill_filter(_id=number)
            assert of_the_server
            for client in talking:
                client.send("still here")
            assert [client.recv(timeout=30) for client in talking] == ["still here"] * 20
        finally:
            ended.set()
            for thread in knocking:
                thread.join(40)
        assert {status_of(answer) if answer else 0 for answer in refused} == {503}

        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(LIMIT)]
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
        client.settimeout(30)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        for other in idle:
            other.close()
        assert status_of(read_all(client)) == 503, "one that waited to be accepted"
        for talker in talking[10:]:
            talker.close()
        wait_until(lambda: status_of(knock_once(port)) == 200, "room again")
        process.terminate()
        _, errors = process.communicate(timeout=40)
    assert errors.count("as many as are served; further ones get 503") == 1


def test_a_tls_handshake_counts_until_it_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = make_certificate(tmp_path)
    endpoint = Endpoint(port=0, key_file=str(key), cert_file=str(certificate))
    with running(endpoint=endpoint, max_connections=7) as server:
        with server.connect() as client:
            wait_until(lambda: len(server.server._open) == 1, "the connection to be counted")
            monkeypatch.setattr(http_protocol, "HANDSHAKE_SECONDS", -1.0)
            client.sendall(b"this is not TLS at all")
        wait_until(lambda: not server.server._open, "the connection to be forgotten")


def test_connections_are_turned_away_then_not_accepted_then_welcome_again() -> None:
    calls: list[str] = []
    open_ = Connections(
        Shares(served=2, surplus=8), pause=lambda: calls.append("pause"), resume=lambda: calls.append("resume")
    )
    assert [open_.add(number) for number in range(10)] == [True, True] + [False] * 8
    assert open_.is_crowded
    assert calls == ["pause"]
    open_.add(10)
    for number in (10, 9):
        open_.discard(number)
    assert calls == ["pause"]
    open_.discard(8)
    assert calls == ["pause", "resume"]
    for number in range(2, 9):
        open_.discard(number)
    assert not open_.is_crowded
    open_.discard(1)
    assert open_.add(11)


def test_shares_of_this_process_are_below_its_limit() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    mine = shares(10**9)
    assert mine.served + mine.surplus < limit
