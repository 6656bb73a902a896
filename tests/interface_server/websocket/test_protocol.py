"""WebSockets on a real socket: handshake, frames, limits, pings, the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import struct
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

from channel_layer.delivery import Delivery
from channel_layer.memory import MemoryChannelLayer
from interface_server.bridge.replies import Reply
from interface_server.websocket.connection import READ_AHEAD_MESSAGES, Phase, WebSocketConnection
from interface_server.websocket.protocol import SLICE, WebSocketProtocol
from interface_server.wire.websocket_frames import LARGE
from tests.conftest import wait_until
from tests.interface_server.fakes import QuietContext, scope
from tests.interface_server.helpers import Running, Workers, fields_of, read_all, running, silent

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running() as run:
        yield run


def closing_code(client: ClientConnection) -> int:
    """Read until the server closes; the code it gave."""
    with pytest.raises(ConnectionClosed) as caught:  # noqa: PT012 - any receive may be the one
        while True:
            client.recv(timeout=20)
    assert caught.value.rcvd is not None
    return int(caught.value.rcvd.code)


def refused_with(server: Running, **options: object) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught, connect(server.url(), **options):  # type: ignore[arg-type]
        pass
    return caught.value


def test_text_and_bytes_come_back(server: Running) -> None:
    with connect(server.url("/chat?room=1")) as client:
        client.send("grüße")
        assert client.recv(timeout=20) == "grüße"
        client.send(b"\x00\xff")
        assert client.recv(timeout=20) == b"\x00\xff"


def test_the_answer_to_a_handshake_has_the_fields_of_its_reply() -> None:
    def answer(workers: Workers, delivery: Delivery) -> None:
        reply: dict[str, Any] = {"accept": True}
        if delivery.message["path"] == "/denied":
            reply = {"accept": False, "status": 401, "content": b"who?"}
        workers.reply(delivery, {**reply, "headers": [[b"Set-Cookie", b"a=\xe9"], ["Set-Cookie", "c=d"]]})

    with running({"websocket.connect": answer}) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
            client.sendall(UPGRADE)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(4096)
            assert head.startswith(b"HTTP/1.1 101 ")
            assert head.endswith(b"\r\nSet-Cookie: a=\xe9\r\nSet-Cookie: c=d\r\n\r\n")
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
            client.sendall(UPGRADE.replace(b"GET / ", b"GET /denied "))
            response = read_all(client)
        assert response.startswith(b"HTTP/1.1 401 Unauthorized\r\nSet-Cookie: a=\xe9\r\nSet-Cookie: c=d\r\n")
        assert response.endswith(b"\r\n\r\nwho?")
        fields = fields_of(response)
        assert (fields["content-length"], fields["connection"]) == ("4", "close")


def test_the_messages_have_the_format_of_the_draft() -> None:
    with running() as server:
        with connect(server.url("/chat?room=1"), subprotocols=["a"], origin="http://x") as client:  # type: ignore[list-item,arg-type]
            client.send("one")
            client.recv(timeout=20)
            client.send(b"two")
            client.recv(timeout=20)
            client.close(4001)
        gone = server.workers.wait_for("websocket.disconnect")[0].message
        opened = server.workers.on("websocket.connect")[0].message
        first, second = (item.message for item in server.workers.on("websocket.receive"))
        reply = opened["reply_channel"]
        assert opened["path"] == "/chat"
        assert opened["query_string"] == b"room=1"
        assert opened["scheme"] == "ws"
        assert opened["order"] == 0
        assert [b"origin", b"http://x"] in opened["headers"]
        assert first == {"reply_channel": reply, "path": "/chat", "text": "one", "order": 1}
        assert second == {"reply_channel": reply, "path": "/chat", "bytes": b"two", "order": 2}
        assert gone == {"reply_channel": reply, "path": "/chat", "code": 4001, "order": 3}


def test_compression_is_not_offered_unless_asked_for(server: Running) -> None:
    with connect(server.url()) as client:
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers
    with running(permessage_deflate=True) as compressing, connect(compressing.url()) as client:
        assert client.response is not None
        assert "permessage-deflate" in client.response.headers["Sec-WebSocket-Extensions"]
        client.send("x" * 10_000)
        assert client.recv(timeout=20) == "x" * 10_000


def test_a_handshake_without_key_gets_400(server: Running) -> None:
    request = (
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert server.ask(request).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("first_line", [b"POST / HTTP/1.1", b"GET / HTTP/1.0"])
def test_only_a_get_of_http_1_1_becomes_a_websocket(server: Running, first_line: bytes) -> None:
    before = len(server.workers.on("websocket.connect"))
    assert server.ask(UPGRADE.replace(b"GET / HTTP/1.1", first_line)).startswith(b"HTTP/1.1 400")
    assert len(server.workers.on("websocket.connect")) == before


def test_another_version_of_the_protocol_is_told_the_right_one(server: Running) -> None:
    response = server.ask(UPGRADE.replace(b"Version: 13", b"Version: 8"))
    assert response.startswith(b"HTTP/1.1 426 ")
    fields = fields_of(response)
    assert fields["sec-websocket-version"] == "13"
    assert fields["upgrade"] == "websocket"
    assert response.lower().count(b"connection:") == 1


def test_white_space_around_the_values_of_a_handshake_is_no_part_of_them(server: Running) -> None:
    padded = UPGRADE[:-2].replace(b"\r\n", b" \t\r\n").replace(b"HTTP/1.1 \t", b"HTTP/1.1")
    with server.connect() as client:
        client.sendall(padded + b"Sec-WebSocket-Protocol: a , b\t\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 101")


@pytest.mark.parametrize("body", [b"Content-Length: 4", b"Transfer-Encoding: chunked"])
def test_a_handshake_with_a_body_is_refused(server: Running, body: bytes) -> None:
    before = len(server.workers.on("websocket.connect"))
    response = server.ask(UPGRADE[:-2] + body + b"\r\n\r\n\x81\x80ab")
    assert response.startswith(b"HTTP/1.1 400")
    assert len(server.workers.on("websocket.connect")) == before


def test_a_handshake_that_is_refused_closes_the_connection_once(server: Running) -> None:
    response = server.ask(UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"))
    assert response.startswith(b"HTTP/1.1 400")
    assert response.lower().count(b"connection: close") == 1


def test_names_with_an_underscore_do_not_reach_consumers() -> None:
    with running() as server:
        with connect(server.url(), additional_headers={"X_Real_Ip": "1.2.3.4", "X-Kept": "1"}):
            pass
        names = [name for name, _ in server.workers.on("websocket.connect")[0].message["headers"]]
        assert b"x-kept" in names
        assert b"x_real_ip" not in names


def test_a_control_character_in_a_header_refuses_the_handshake(server: Running) -> None:
    assert server.ask(UPGRADE[:-2] + b"X-A: b\x01\r\n\r\n").startswith(b"HTTP/1.1 400")


def test_a_denied_handshake_is_a_403() -> None:
    def deny(workers: Workers, delivery: Delivery) -> None:
        workers.reply(delivery, {"accept": False})

    with running({"websocket.connect": deny}) as server:
        assert refused_with(server).response.status_code == 403
        server.workers.wait_for("websocket.disconnect")


def test_a_handshake_nobody_answers_is_a_503_and_a_late_answer_does_nothing() -> None:
    with running({"websocket.connect": silent}, accept_timeout=0.3, turn_timeout=1) as server:
        response = refused_with(server).response
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "5"
        server.workers.reply(server.workers.on("websocket.connect")[0], {"accept": True})
        assert server.workers.wait_for("websocket.disconnect")[0].message["code"] == 1006


def test_a_full_channel_refuses_the_handshake_at_once() -> None:
    layer = MemoryChannelLayer(channel_capacity={"websocket.connect": 1})
    with running(layer=layer, accept_timeout=60) as server:
        server.workers.stop()
        layer.send("websocket.connect", {})
        assert refused_with(server).response.status_code == 503


# Whole frames of up to 64 KiB take the short way past the library.
@pytest.mark.parametrize("limit", [1_000, 100_000])
@pytest.mark.parametrize("kind", ["one frame", "two fragments"])
@pytest.mark.parametrize("content", ["plain", "compressed", "grown by compression"])
def test_a_message_of_exactly_the_limit_passes_and_one_byte_more_is_1009(limit: int, kind: str, content: str) -> None:
    letters = os.urandom(limit + 1) if content == "grown by compression" else b"x" * (limit + 1)

    def message(size: int) -> bytes | list[bytes]:
        return [letters[: limit // 2], letters[limit // 2 : size]] if kind == "two fragments" else letters[:size]

    compressed = content != "plain"
    options = {"compression": "deflate" if compressed else None}
    with running(websocket_max_message=limit, permessage_deflate=compressed) as server:
        with connect(server.url(), max_size=None, **options) as client:  # type: ignore[arg-type]
            client.send(message(limit))
            assert client.recv(timeout=20) == letters[:limit]
            with contextlib.suppress(ConnectionClosed):
                client.send(message(limit + 1))
            assert closing_code(client) == 1009
        assert len(server.workers.on("websocket.receive")) == 1


def test_a_frame_that_claims_an_absurd_length_is_1009() -> None:
    with running() as server, connect(server.url()) as client:
        client.socket.sendall(b"\x82\xff" + struct.pack("!Q", 2**62) + b"mask")
        assert closing_code(client) == 1009
        assert server.workers.on("websocket.receive") == []


def test_more_fragments_than_allowed_are_1009() -> None:
    with running(websocket_max_fragments=10) as server:
        with connect(server.url()) as client:
            client.send(["x"] * 9)
            assert client.recv(timeout=20) == "x" * 9
            with contextlib.suppress(ConnectionClosed):  # it may come before the last fragment is out
                client.send(["x"] * 30)
            assert closing_code(client) == 1009
        with connect(server.url()) as client:
            empty = b"\x00\x80" + b"mask"
            client.socket.sendall(b"\x01\x80mask" + empty * 20_000)
            assert closing_code(client) == 1009
        assert len(server.workers.on("websocket.receive")) == 1


def test_text_that_is_no_utf8_is_1007(server: Running) -> None:
    with connect(server.url()) as client:
        client.send(b"\xff\xfe", text=True)
        assert closing_code(client) == 1007


def test_a_wrong_byte_in_a_fragment_of_text_is_noticed_before_the_message_is_complete(server: Running) -> None:
    with server.connect() as client:
        client.sendall(UPGRADE)
        assert client.recv(4096).startswith(b"HTTP/1.1 101")
        client.sendall(masked(0x01, "grüß".encode()[:3]) + masked(0x00, b"\xbc\xff"))
        close = read_all(client)
        assert (close[0], close[2:4]) == (0x88, struct.pack("!H", 1007))


def test_a_character_may_be_split_between_fragments(server: Running) -> None:
    with connect(server.url()) as client:
        data = "gr\u00fc\u00dfe \U0001f600".encode()
        client.socket.sendall(
            masked(0x01, data[:3])
            + b"".join(masked(0x00, data[n : n + 1]) for n in range(3, len(data)))
            + masked(0x80, b"")
        )
        assert client.recv(timeout=20) == "gr\u00fc\u00dfe \U0001f600"
        client.socket.sendall(masked(0x01, data[:3]) + masked(0x80, b""))
        assert closing_code(client) == 1007


def masked(first: int, payload: bytes) -> bytes:
    """A short frame of a client, masked with zeros."""
    return bytes([first, 0x80 | len(payload)]) + bytes(4) + payload


def test_numbered_messages_of_many_clients_come_back_in_order(server: Running) -> None:
    failures: list[object] = []

    def chat(name: int) -> None:
        with connect(server.url(f"/{name}")) as client:
            for number in range(100):
                client.send(f"{name}:{number}")
            for number in range(100):
                answer = client.recv(timeout=20)
                if answer != f"{name}:{number}":
                    failures.append((answer, name, number))

    threads = [threading.Thread(target=chat, args=(name,)) for name in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_next_message_waits_for_the_end_of_the_turn() -> None:
    with running({"websocket.receive": silent}) as server, connect(server.url()) as client:
        for number in range(5):
            client.send(str(number))
        for number in range(5):
            waiting = server.workers.wait_for("websocket.receive", number + 1)
            assert len(waiting) == number + 1
            assert waiting[-1].message["text"] == str(number)
            server.workers.reply(waiting[-1], {})


def test_a_turn_that_does_not_end_is_given_up_after_its_time() -> None:
    with running({"websocket.receive": silent}, turn_timeout=0.3) as server, connect(server.url()) as client:
        client.send("stuck")
        client.send("next")
        assert [item.message["text"] for item in server.workers.wait_for("websocket.receive", 2)] == ["stuck", "next"]


def test_unordered_does_not_wait() -> None:
    with running({"websocket.receive": silent}, unordered=True) as server, connect(server.url()) as client:
        for number in range(50):
            client.send(str(number))
        assert len(server.workers.wait_for("websocket.receive", 50)) == 50
        assert server.workers.on("websocket.receive")[0].headers is None


def test_a_close_is_noticed_while_a_consumer_is_at_work_and_told_after_it() -> None:
    with running({"websocket.receive": silent}) as server:
        with connect(server.url()) as client:
            client.send("at work")
            client.send("behind")
            client.close()
        first = server.workers.wait_for("websocket.receive")[0]
        wait_until(lambda: not server.server._open, "the socket to be gone")
        assert server.workers.on("websocket.disconnect") == []
        server.workers.reply(first, {})
        second = server.workers.wait_for("websocket.receive", 2)[1]
        assert second.message["text"] == "behind"
        server.workers.reply(second, {})
        assert server.workers.wait_for("websocket.disconnect")[0].message["order"] == 3


def test_the_reason_for_closing_is_passed_on_both_ways() -> None:
    def close(workers: Workers, delivery: Delivery) -> None:
        workers.reply(delivery, {"close": 4001, "reason": "schöne Grüße"})

    with running({"websocket.receive": close}) as server:
        with connect(server.url()) as client:
            client.close(4002, "bis später")
        message = server.workers.wait_for("websocket.disconnect")[0].message
        assert (message["code"], message["reason"]) == (4002, "bis später")
        with connect(server.url()) as client:
            client.send("close")
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "schöne Grüße")
        message = server.workers.wait_for("websocket.disconnect", 2)[1].message
        assert (message["code"], message["reason"]) == (4001, "schöne Grüße")
        with connect(server.url()) as client:
            client.close(4003)
        assert "reason" not in server.workers.wait_for("websocket.disconnect", 3)[2].message


def test_a_client_that_is_cut_off_is_told_to_consumers() -> None:
    with running() as server:
        with connect(server.url()) as client:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.socket.shutdown(socket.SHUT_RDWR)
        assert server.workers.wait_for("websocket.disconnect")[0].message["code"] == 1006
        wait_until(lambda: not server.context.connections, "the connection to be forgotten")


def test_state_rides_with_the_connection() -> None:
    def count(workers: Workers, delivery: Delivery) -> None:
        before = int((delivery.headers or {}).get("state", {}).get("n", b"0"))  # type: ignore[attr-defined]
        workers.reply(delivery, {"text": str(before)}, state={"n": b"%d" % (before + 1)})

    with running({"websocket.receive": count}) as server, connect(server.url()) as client:
        for number in range(3):
            client.send("x")
            assert client.recv(timeout=20) == str(number)


def test_state_over_the_limit_is_not_kept() -> None:
    def grow(workers: Workers, delivery: Delivery) -> None:
        workers.reply(delivery, {"text": repr((delivery.headers or {}).get("state"))}, state={"a": b"x" * 100})

    with running({"websocket.receive": grow}, state_max=100) as server, connect(server.url()) as client:
        for _ in range(2):
            client.send("x")
            assert client.recv(timeout=20) == "None"


def test_the_server_chooses_a_subprotocol_that_both_speak() -> None:
    with running(subprotocols=("b", "c")) as server:
        with connect(server.url(), subprotocols=["a", "c", "b"]) as client:  # type: ignore[list-item]
            assert client.subprotocol == "b"
        with connect(server.url(), subprotocols=["x"]) as client:  # type: ignore[list-item]
            assert client.subprotocol is None


def test_a_message_to_a_group_reaches_every_member_and_no_other() -> None:
    layer = MemoryChannelLayer()

    def join(workers: Workers, delivery: Delivery) -> None:
        if delivery.message["path"] == "/member":
            layer.group_add("room", delivery.message["reply_channel"])
        workers.reply(delivery, {"accept": True})

    with running({"websocket.connect": join}, layer=layer) as server:
        with (
            connect(server.url("/member")) as one,
            connect(server.url("/member")) as two,
            connect(server.url("/")) as other,
        ):
            layer.send_group("room", {"text": "to all"})
            assert one.recv(timeout=20) == "to all"
            assert two.recv(timeout=20) == "to all"
            other.send("still here")
            assert other.recv(timeout=20) == "still here"
        wait_until(lambda: layer.group_channels("room") == [], "the members to leave their group")


@pytest.mark.parametrize("takeover", [False, True])
def test_a_message_to_a_group_suits_every_kind_of_member(takeover: bool, tmp_path: Path) -> None:
    layer = MemoryChannelLayer()

    def join(workers: Workers, delivery: Delivery) -> None:
        layer.group_add("room", delivery.message["reply_channel"])
        workers.reply(delivery, {"accept": True})

    options = {"takeover": str(tmp_path / "takeover")} if takeover else {}
    with (
        running({"websocket.connect": join}, layer=layer, permessage_deflate=True, **options) as server,
        connect(server.url(), compression=None) as plain,
        connect(server.url("/observed"), compression=None) as observed,
        connect(server.url(), compression=None) as closed,
        connect(server.url()) as compressing,
        server.connect() as raw,
    ):
        raw.sendall(UPGRADE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"))
        assert b"permessage-deflate" in raw.recv(1000)
        wait_until(lambda: len(layer.group_channels("room")) == 5, "all members")
        (looked_at,) = (each for each in server.context.connections.values() if each.path == "/observed")
        assert looked_at.details()["events"] is None  # from now on they are kept
        layer.send_group("room", {"text": "one"})
        assert [client.recv(timeout=20) for client in (plain, observed, closed, compressing)] == ["one"] * 4
        assert raw.recv(1) == b"\xc1"  # FIN, RSV1 of a compressed message (RFC 7692, section 6), text
        closed.close()
        server.workers.wait_for("websocket.disconnect")
        layer.send_group("room", {"text": "two"})
        layer.send_group("room", {"text": "three", "close": 4001})
        for client in (plain, observed, compressing):
            assert client.recv(timeout=20) == "two"
            assert client.recv(timeout=20) == "three"
            assert closing_code(client) == 4001
        words = [word for _, word, _ in looked_at.details()["events"] or ()]
        assert words == ["frame to client"] * 3 + ["closing"]


@pytest.mark.parametrize("size", [10_000, 100_000])
def test_a_client_that_reads_nothing_is_closed_and_the_others_are_served(size: int) -> None:
    layer = MemoryChannelLayer()

    def join(workers: Workers, delivery: Delivery) -> None:
        layer.group_add("room", delivery.message["reply_channel"])
        workers.reply(delivery, {"accept": True})

    with (
        running(
            {"websocket.connect": join}, layer=layer, outbox_bytes=200_000, outbox_timeout=3_600, ping_interval=0
        ) as server,
        connect(server.url()) as good,
    ):
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", server.port))
        raw.sendall(UPGRADE)
        assert raw.recv(1000).startswith(b"HTTP/1.1 101")
        wait_until(lambda: len(layer.group_channels("room")) == 2, "both members")
        for number in range(10_000_000 // size):
            layer.send_group("room", {"bytes": b"%08d" % number + b"x" * size})
            answer = good.recv(timeout=20)
            assert isinstance(answer, bytes)
            assert answer[:8] == b"%08d" % number
        assert server.workers.wait_for("websocket.disconnect")[0].message["code"] == 1013
        raw.close()


def test_a_client_that_takes_nothing_for_a_while_is_closed() -> None:
    def flood(workers: Workers, delivery: Delivery) -> None:
        for _ in range(100):
            workers.send(delivery, {"bytes": b"x" * 100_000})
        workers.reply(delivery, {})

    with running({"websocket.receive": flood}, outbox_bytes=100_000_000, outbox_timeout=0.5, ping_interval=0) as server:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", server.port))
        raw.sendall(UPGRADE)
        assert raw.recv(1000).startswith(b"HTTP/1.1 101")
        raw.sendall(b"\x81\x81" + b"\0\0\0\0" + b"x")
        assert server.workers.wait_for("websocket.disconnect")[0].message["code"] == 1013
        raw.close()


def test_a_client_that_answers_no_ping_is_closed() -> None:
    with running(ping_interval=0.5, ping_timeout=0.5) as server:
        with server.connect() as raw:
            raw.sendall(UPGRADE)
            server.workers.wait_for("websocket.disconnect")
        with connect(server.url()) as client:
            client.send("answers its pings")
            client.recv(timeout=20)
            before = len(server.workers.on("websocket.disconnect"))
            ticks = server.context.now + 3
            wait_until(lambda: server.context.now > ticks, "a few pings")
            client.send("still here")
            assert client.recv(timeout=20) == "still here"
            assert len(server.workers.on("websocket.disconnect")) == before


def test_a_client_that_is_not_read_is_not_taken_for_gone() -> None:
    released = threading.Event()

    def held(workers: Workers, delivery: Delivery) -> None:
        assert released.wait(30)
        workers.reply(delivery, {"text": delivery.message["text"]})

    with (
        running({"websocket.receive": held}, ping_interval=0.5, ping_timeout=0.5) as server,
        connect(server.url(), ping_interval=None) as client,
    ):
        try:
            for number in range(READ_AHEAD_MESSAGES + 10):
                client.send(str(number))
            [protocol] = server.server._open
            wait_until(lambda: protocol._paused, "the socket to be full")
            since = server.context.now
            wait_until(lambda: server.context.now > since + 1.6, "a ping to whose answer nobody listens")
        finally:
            released.set()
        for number in range(READ_AHEAD_MESSAGES + 10):
            assert client.recv(timeout=20) == str(number)
        since = server.context.now
        wait_until(lambda: server.context.now > since + 1, "the next ping")
        client.send("still here")
        assert client.recv(timeout=20) == "still here"


def opened(
    recorder: Recorder, kind: type[WebSocketProtocol] = WebSocketProtocol, **options: Any
) -> tuple[WebSocketProtocol, QuietContext]:
    """An open protocol of whose transport and connection one recorder takes the place."""
    context = QuietContext(**options)
    protocol = kind(context, set(), recorder)  # type: ignore[arg-type]
    protocol._is_open = True
    protocol._connection = recorder  # type: ignore[assignment]
    return protocol, context


def test_a_client_is_not_slow_while_as_much_waits_as_it_takes() -> None:
    recorder = Recorder()
    recorder.waiting = 5_000
    protocol, context = opened(recorder, outbox_timeout=10, ping_interval=0)
    for context.now in range(0, 100, 5):
        assert protocol.queued(b"x" * 1_000, recorder.waiting)
        protocol.tick(context.now)
    assert recorder.got == []
    protocol.tick(context.now + 10)
    assert recorder.got == ["overflow"]


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("seed", range(3))
def test_what_a_client_has_and_what_moves_with_its_socket_make_up_what_it_was_sent(
    loop: Callable[[], asyncio.AbstractEventLoop], seed: int
) -> None:
    chance = random.Random(seed)
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    sent, got = [], b""

    async def part() -> bytes:
        nonlocal got
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, ours)
        protocol, context = opened(transport, takeover="/there")  # type: ignore[arg-type]
        connection = protocol._connection = WebSocketConnection(context, scope("websocket"), protocol)
        connection.open()
        connection.deliver({"accept": True}, None)
        while len(sent) < 500 or not protocol.outbox_bytes:
            content = chance.randbytes(chance.choice([10, 1_000, LARGE - 1, 2 * LARGE]))
            sent.append(Frame(Opcode.BINARY, content).serialize(mask=False))
            connection.deliver({"bytes": content}, None)
            if chance.random() < 0.1:
                await asyncio.sleep(0)
                with contextlib.suppress(BlockingIOError):
                    while data := theirs.recv(chance.choice([10_000, 100_000])):
                        got += data
                        await asyncio.sleep(0)
        assert connection.phase is Phase.OPEN
        state, parting = protocol.give_away([])
        assert state["connection"]["local"] == connection.channel.partition("!")[2]
        connection.apply(Reply({"text": "too late"}))
        with parting.socket:
            unsent = await parting.unsent()
            assert unsent
            with contextlib.suppress(BlockingIOError):
                while data := theirs.recv(100_000):
                    got += data
            return unsent

    with theirs, asyncio.Runner(loop_factory=loop) as runner:
        unsent = runner.run(part())
    assert got + unsent == b"".join(sent)


def test_a_client_that_is_read_again_gets_time_for_its_pong() -> None:
    recorder = Recorder()
    protocol, context = opened(recorder, ping_interval=20, ping_timeout=20)
    protocol.tick(20)
    protocol.pause()
    protocol.tick(100)
    context.now = 100.0
    protocol.resume()
    protocol.tick(119)
    assert not recorder.closed
    protocol.tick(120)
    assert recorder.closed


def test_what_a_client_sends_while_its_handshake_waits_is_taken_up_when_it_is_accepted() -> None:
    with running({"websocket.connect": silent}, accept_timeout=60) as server, server.connect() as raw:
        frames = [Frame(Opcode.TEXT, text).serialize(mask=True) for text in (b"early", b"too")]
        raw.sendall(UPGRADE + frames[0])
        raw.sendall(frames[1])
        opening = server.workers.wait_for("websocket.connect")[0]
        [protocol] = server.server._open
        wait_until(lambda: protocol._backlog == frames[0] + frames[1], "what was sent to have come")
        assert server.workers.on("websocket.receive") == []
        server.workers.reply(opening, {"accept": True})
        got = server.workers.wait_for("websocket.receive", 2)
        assert [item.message["text"] for item in got] == ["early", "too"]


@pytest.mark.parametrize(("size", "outlives"), [(SLICE, True), (SLICE + 1, False)])
def test_what_a_client_may_send_while_its_handshake_waits_is_bounded(size: int, outlives: bool) -> None:
    with running({"websocket.connect": silent}, accept_timeout=60) as server, server.connect() as raw:
        raw.sendall(UPGRADE)
        opening = server.workers.wait_for("websocket.connect")[0]
        [protocol] = server.server._open
        frame = Frame(Opcode.BINARY, b"x" * (size - 8)).serialize(mask=True)
        assert len(frame) == size
        raw.sendall(frame)
        wait_until(lambda: not server.server._open or len(protocol._backlog) == size, "what was sent to have come")
        server.workers.reply(opening, {"accept": True})
        if outlives:
            assert len(server.workers.wait_for("websocket.receive")[0].message["bytes"]) == size - 8
        else:
            assert server.workers.wait_for("websocket.disconnect")[0].message["code"] == 1006
            assert read_all(raw) == b""


@pytest.mark.parametrize("answers", [True, False])
def test_only_the_pong_to_its_own_ping_keeps_a_client(answers: bool) -> None:
    recorder = Recorder()
    protocol, _ = opened(recorder, ping_interval=20, ping_timeout=20)
    protocol.tick(20)
    [ping] = recorder.got
    assert isinstance(ping, bytes)
    protocol.data_received(Frame(Opcode.PONG, ping[2:] if answers else b"else").serialize(mask=True))
    protocol.tick(39)
    assert not recorder.closed
    protocol.tick(41)
    assert recorder.closed is not answers


def test_a_frame_that_finds_its_channel_full_closes_the_socket_and_its_disconnect_is_sent() -> None:
    layer = MemoryChannelLayer(channel_capacity={"websocket.receive": 1})
    with (
        running({"websocket.receive": silent}, layer=layer, send_timeout=0.5) as server,
        connect(server.url()) as client,
    ):
        server.workers.stop()
        layer.send("websocket.receive", {"other": True})
        client.send("no room")
        client.send("behind")
        assert closing_code(client) == 1013
        layer.receive_batch(["websocket.receive"])
        channels = ["websocket.disconnect"]
        left = wait_until(lambda: layer.receive_batch(channels), "the disconnect")
        assert left[0].message["code"] == 1013  # type: ignore[index]
        assert layer.receive_batch(["websocket.receive"]) == []


def test_a_frame_that_waits_for_room_arrives_once() -> None:
    layer = MemoryChannelLayer(channel_capacity={"websocket.receive": 1})
    with running({"websocket.receive": silent}, layer=layer) as server, connect(server.url()) as client:
        server.workers.stop()
        layer.send("websocket.receive", {"text": "other"})
        client.send("waits")
        arrived: list[str] = []

        def both() -> bool:
            arrived.extend(item.message["text"] for item in layer.receive_batch(["websocket.receive"]))
            return len(arrived) == 2

        wait_until(both, "both messages")
        assert arrived == ["other", "waits"]


def test_a_websocket_ends_with_its_life() -> None:
    with running(websocket_life=0.5) as server, connect(server.url()) as client:
        assert closing_code(client) == 1001
        server.workers.wait_for("websocket.disconnect")


@pytest.mark.parametrize(("close", "code"), [(True, 1000), (1000, 1000), (4123, 4123)])
def test_a_consumer_closes_with_a_code(close: object, code: int) -> None:
    def bye(workers: Workers, delivery: Delivery) -> None:
        workers.reply(delivery, {"text": "bye", "close": close})

    with running({"websocket.receive": bye}) as server, connect(server.url()) as client:
        client.send("x")
        assert client.recv(timeout=20) == "bye"
        assert closing_code(client) == code
        assert server.workers.wait_for("websocket.disconnect")[0].message["code"] == code


def test_memory_does_not_grow_with_frames_that_wait() -> None:
    with (
        running({"websocket.receive": silent}) as server,
        connect(server.url(), ping_interval=None, close_timeout=0.1) as client,
    ):
        client.socket.settimeout(1)
        payload = os.urandom(60_000)
        with pytest.raises(TimeoutError):  # noqa: PT012 - the socket's buffers decide which call blocks
            for _ in range(2000):
                client.socket.sendall(b"\x82\xfe" + struct.pack("!H", len(payload)) + b"\0\0\0\0" + payload)
        connection = next(iter(server.context.connections.values()))
        assert connection._inbox_bytes < 500_000


class Recorder:
    """The transport and the connection of a protocol that no server runs."""

    def __init__(self) -> None:
        self.got: list[object] = []
        self.closed = False
        self.waiting = 0

    def overflow(self) -> None:
        self.got.append("overflow")

    def received(self, content: str | bytes) -> None:
        self.got.append(content)

    def lost(self, code: int, reason: str = "", cause: str = "") -> None:
        self.got.append(code)

    def write(self, data: bytes) -> None:
        self.got.append(data)

    def close(self) -> None:
        self.closed = True

    write_eof = close

    def pause_reading(self) -> None:
        """Reading is the test's business."""

    resume_reading = pause_reading

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return self.waiting


class OnlyTheLibrary(WebSocketProtocol):
    def _take_whole(self, data: bytes) -> bool:
        return False

    _take_large = _take_whole


def outcome(kind: type[WebSocketProtocol], reads: list[bytes], limit: int) -> list[object]:
    recorder = Recorder()
    protocol, _ = opened(recorder, kind, websocket_max_message=limit)
    for data in reads:
        if not recorder.closed:
            protocol.data_received(data)
    return recorder.got


client_frames = st.builds(
    Frame,
    st.sampled_from([Opcode.TEXT, Opcode.TEXT, Opcode.BINARY, Opcode.CONT]),
    st.sampled_from([b"", b"abc", "grün".encode(), b"\xff", b"y" * 126, b"z" * 150, b"z" * 151]),
    st.sampled_from([True, True, False]),
)
other_frames = st.sampled_from(
    [Frame(Opcode.PING, b"p"), Frame(Opcode.PONG, b"q"), Frame(Opcode.CLOSE, b"\x0f\xa1"), b"\x81\x01?"]
)
A_WHOLE_TEXT = b"\x81\x83" + bytes(4) + b"abc"
cuts = st.sampled_from([0, 0, 0, 1, 2, 6, 8, 12])
a_longer_head_than_needed = st.just(b"\x81\xfe\x00\x03" + bytes(4) + b"abc")


@given(
    st.lists(
        st.tuples(client_frames | client_frames | other_frames | a_longer_head_than_needed, cuts),
        max_size=12,
    )
)
@example([(b"\x82\x89" + bytes(4) + A_WHOLE_TEXT, 6), (A_WHOLE_TEXT, 0)])
@example([(Frame(Opcode.TEXT, b"abc", fin=False), 0), (A_WHOLE_TEXT, 0)])
def test_however_frames_are_cut_into_reads_the_outcome_is_that_of_the_complete_parser(
    frames: list[tuple[Frame | bytes, int]],
) -> None:
    """A cut of 0 leaves a frame whole in a read of its own, 12 joins it to the next one.

    The examples: a frame in a frame, cut where it begins, and a message amid another's fragments.
    """
    reads, joined = [], b""
    for frame, cut in frames:
        joined += frame.serialize(mask=True) if isinstance(frame, Frame) else frame
        if cut < 12:
            reads += [piece for piece in (joined[:cut], joined[cut:]) if piece]
            joined = b""
    reads.append(joined)
    assert outcome(WebSocketProtocol, reads, 150) == outcome(OnlyTheLibrary, reads, 150)


def letters(size: int, end: bytes) -> bytes:
    return (bytes(range(65, 115)) * (size // 50 + 1))[: size - len(end)] + end


large_frames = st.builds(
    Frame,
    st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.CONT]),
    st.builds(
        letters,
        st.sampled_from([LARGE - 1, LARGE, 65_535, 65_536, 70_000, 80_000, 80_001]),
        st.sampled_from([b"", "ü".encode(), b"\xff"]),
    ),
    st.sampled_from([True, True, True, False]),
)


def with_a_longer_head_than_needed() -> bytes:
    return b"\x82\xff" + (20_000).to_bytes(8) + bytes(4) + bytes(20_000)


@given(
    st.lists(
        large_frames | large_frames | client_frames | other_frames | st.builds(with_a_longer_head_than_needed),
        max_size=6,
    ),
    st.lists(st.sampled_from([1, 2, 7, 8, 9, 13, 14, 15, 500, 8_000, 16_384, 40_000, 65_536, 262_144]), min_size=1),
)
@example(
    [Frame(Opcode.BINARY, b"x" * 70_000), Frame(Opcode.BINARY, b"y" * 20_000), Frame(Opcode.TEXT, b"z")], [262_144]
)
@example([Frame(Opcode.TEXT, letters(65_535, b"\xff")), Frame(Opcode.CONT, b"")], [14])
def test_however_large_frames_are_cut_into_reads_the_outcome_is_that_of_the_complete_parser(
    frames: list[Frame | bytes], sizes: list[int]
) -> None:
    """Reads have the given sizes, over and over. Of two faults in one read, the parser may tell of the later one."""
    whole = [frame.serialize(mask=True) if isinstance(frame, Frame) else frame for frame in frames]
    sent = b"".join(whole)
    reads, size = [], cycle(sizes)
    while sent:
        cut = next(size)
        if len(reads) > 3_000:
            cut = len(sent)
        reads.append(sent[:cut])
        sent = sent[cut:]
    expected = [outcome(OnlyTheLibrary, each, 80_000) for each in (reads, whole)]
    assert outcome(WebSocketProtocol, reads, 80_000) in expected


def test_a_large_message_byte_by_byte_takes_no_more_memory_than_the_message() -> None:
    recorder = Recorder()
    protocol, _ = opened(recorder)
    payload = os.urandom(200_000)
    sent = Frame(Opcode.BINARY, payload).serialize(mask=True)
    protocol.data_received(sent[:20])
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for at in range(20, len(sent) - 1):
            protocol.data_received(sent[at : at + 1])
        assert tracemalloc.get_traced_memory()[0] - before < 1.2 * len(payload)
    finally:
        tracemalloc.stop()
    protocol.data_received(sent[-1:])
    assert recorder.got == [payload]


def test_a_connection_does_not_move_amid_a_large_message() -> None:
    recorder = Recorder()
    protocol, _ = opened(recorder)
    sent = Frame(Opcode.BINARY, b"x" * 100_000).serialize(mask=True)
    protocol.data_received(sent[:50_000])
    assert not protocol.hold()
    protocol.data_received(sent[50_000:])
    assert protocol.hold()
    assert recorder.got == [b"x" * 100_000]


@pytest.mark.parametrize("takeover", [False, True])
@pytest.mark.parametrize("content", ["ü" * 100_000, b"\x00\xff" * 100_000], ids=["text", "bytes"])
def test_a_large_message_arrives_whole_and_in_its_place(content: str | bytes, takeover: bool, tmp_path: Path) -> None:
    options = {"takeover": str(tmp_path / "takeover")} if takeover else {}
    with running(**options) as server, connect(server.url(), max_size=None) as client:
        for message in ("before", content, "after"):
            client.send(message)
        assert [client.recv(timeout=20) for _ in range(3)] == ["before", content, "after"]
