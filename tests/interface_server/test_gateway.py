"""What happens to open connections when the channel layer goes away and comes back."""

from __future__ import annotations

import logging
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from interface_server import gateway
from tests.conftest import wait_until
from tests.interface_server.fakes import FlakyLayer
from tests.interface_server.helpers import Running, fields_of, running, status_of

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PING = b"\x89\x04"


def go_away(server: Running) -> None:
    server.layer.away = True
    wait_until(lambda: server.context.uplink.down, "the server to notice")


def come_back(server: Running) -> None:
    server.layer.away = False
    wait_until(lambda: server.context.uplink.down is None, "the server to notice")


def test_while_the_layer_is_away_requests_and_handshakes_get_503_at_once() -> None:
    with running(layer=FlakyLayer()) as server:
        go_away(server)
        response = server.get()
        assert status_of(response) == 503
        assert fields_of(response)["retry-after"] == "5"
        with pytest.raises(InvalidStatus) as caught, connect(server.url()):
            pass
        assert caught.value.response.status_code == 503
        come_back(server)
        assert status_of(server.get()) == 200


def test_open_sockets_outlive_an_outage_and_what_was_sent_meanwhile_arrives_once() -> None:
    with running(layer=FlakyLayer()) as server, connect(server.url()) as client:
        client.send("before")
        assert client.recv(timeout=20) == "before"
        go_away(server)
        for number in range(3):
            client.send(f"meanwhile {number}")
        come_back(server)
        for number in range(3):
            assert client.recv(timeout=20) == f"meanwhile {number}"
        texts = [item.message["text"] for item in server.workers.on("websocket.receive")]
        assert texts == ["before", "meanwhile 0", "meanwhile 1", "meanwhile 2"]


def test_a_socket_that_waits_too_long_is_closed_with_1013_and_its_disconnect_follows_later() -> None:
    with running(layer=FlakyLayer(), outage_timeout=0.5) as server, connect(server.url()) as client:
        go_away(server)
        client.send("x")
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(timeout=20)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1013
        assert server.workers.on("websocket.disconnect") == []
        come_back(server)
        assert server.workers.wait_for("websocket.disconnect")[0].message["code"] == 1013
        assert server.workers.on("websocket.receive") == []


def test_sockets_that_talk_wait_for_the_layer_longer_than_for_room_on_a_channel() -> None:
    with running(layer=FlakyLayer(), send_timeout=0.1) as server, connect(server.url()) as client:
        go_away(server)
        client.send("meanwhile")
        client.send("behind")
        wait_until(lambda: server.context.read_ahead, "both frames to have come")
        since = server.context.now
        wait_until(lambda: server.context.now > since + 1, "the deadlines to be checked")
        come_back(server)
        assert [client.recv(timeout=20) for _ in range(2)] == ["meanwhile", "behind"]
        assert server.context.read_ahead == 0


def test_an_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "interface_server")
    with running(layer=FlakyLayer()) as server:
        go_away(server)
        for _ in range(3):
            server.get()
        come_back(server)
    lines = [record.message for record in caplog.records if "unavailable" in record.message]
    assert lines == ["channel layer at here is unavailable: away for a test; trying again until it answers"]


def test_a_process_that_stood_still_gives_those_time_whose_pongs_are_on_their_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateway, "_STALL_SECONDS", 1.0)
    # A ping is still young when the process begins to stand still, and overdue when it goes on.
    with running(ping_interval=0.5, ping_timeout=1.2) as server, server.connect() as raw:
        raw.sendall(UPGRADE)
        received = b""
        while PING not in received:
            received += raw.recv(1_000)
        before = server.context.now
        server.server._application.gateway._loop.call_soon_threadsafe(time.sleep, 1.5)
        wait_until(lambda: server.context.now > before + 1.4, "the process to go on")
        ping = received.partition(PING)[2][:4]
        raw.sendall(Frame(Opcode.PONG, ping).serialize(mask=True) + Frame(Opcode.TEXT, b"here").serialize(mask=True))
        assert server.workers.wait_for("websocket.receive")[0].message["text"] == "here"
        assert server.workers.on("websocket.disconnect") == []


def test_stopping_while_the_layer_is_away_ends_all_the_same() -> None:
    with running(layer=FlakyLayer(), graceful_timeout=1) as server, connect(server.url()) as client:
        go_away(server)
        server.server.should_exit = True
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=20)
        server.thread.join(20)
        assert not server.thread.is_alive()
