"""Tests of benchmarks.crowd.sockets."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator

import pytest
from websockets.frames import Opcode

from benchmarks.crowd.sockets import (
    PER_SOURCE,
    Connection,
    LoadError,
    after_handshake,
    client_frame,
    handshake_request,
    server_frame,
    source,
)

FRAMES = server_frame(Opcode.TEXT, b"first") + server_frame(Opcode.TEXT, b"other")
SIZE = len(FRAMES) // 2
A_PING = server_frame(Opcode.PING, b"there")


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection on which both frames must come, and its far end."""
    near, far = socket.socketpair()
    connection = Connection(near, 7)
    connection.expect(FRAMES, 2)
    yield connection, far
    near.close()
    far.close()


def test_a_client_masks_its_frames_and_a_server_does_not():
    assert server_frame(Opcode.TEXT, b"Hello") == bytes.fromhex("810548656c6c6f")
    frame = client_frame(Opcode.TEXT, b"Hello")
    mask, masked = frame[2:6], frame[6:]
    assert (frame[:2], bytes(a ^ mask[n % 4] for n, a in enumerate(masked))) == (b"\x81\x85", b"Hello")


@pytest.mark.parametrize("cut", range(len(FRAMES)))
def test_however_it_is_cut_what_came_is_counted(pair: tuple[Connection, socket.socket], cut: int) -> None:
    assert [pair[0].take(piece) for piece in (FRAMES[:cut], FRAMES[cut:]) if piece][-1]


@pytest.mark.parametrize("place", [0, SIZE, 2 * SIZE])
def test_a_ping_between_frames_is_answered_and_not_counted(pair: tuple[Connection, socket.socket], place: int) -> None:
    assert pair[0].take(FRAMES[:place] + A_PING + FRAMES[place:])
    answer = pair[1].recv(100)
    assert (answer[0], answer[1]) == (0x80 | Opcode.PONG, 0x80 | len(b"there"))


def test_a_ping_makes_nothing_whole_that_was_so_before(pair: tuple[Connection, socket.socket]) -> None:
    assert pair[0].take(FRAMES)
    assert not pair[0].take(A_PING)
    pair[0].expect(b"")
    assert not pair[0].take(A_PING)


def test_bytes_of_a_ping_inside_a_frame_are_content(pair: tuple[Connection, socket.socket]) -> None:
    assert not pair[0].take(FRAMES[:3])
    with pytest.raises(LoadError, match="something else than it should came on socket 7 from byte 3 on"):
        pair[0].take(A_PING)


@pytest.mark.parametrize("data", [FRAMES[:SIZE] * 2, FRAMES + FRAMES[:1], FRAMES + server_frame(Opcode.TEXT, b"")])
def test_what_is_wrong_or_doubled_is_noticed(pair: tuple[Connection, socket.socket], data: bytes) -> None:
    with pytest.raises(LoadError, match="something else"):
        pair[0].take(data)


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "connection 7$"), (server_frame(Opcode.CLOSE, b"\x03\xf3"), "connection 7 with 1011")]
)
def test_a_connection_that_the_server_closes_ends_the_load(
    pair: tuple[Connection, socket.socket], data: bytes, reason: str
) -> None:
    with pytest.raises(LoadError, match=f"the server closed {reason}"):
        pair[0].take(data)


def test_sources_are_loopback_addresses_and_change_before_ports_run_out() -> None:
    addresses = [ipaddress.ip_address(source(number)) for number in (0, PER_SOURCE - 1, PER_SOURCE, 2 * PER_SOURCE)]
    assert all(address.is_loopback for address in addresses)
    assert addresses[0] == addresses[1]
    assert len(set(addresses)) == 3


def test_the_request_offers_no_extension():
    request = handshake_request("127.0.0.1", 80, "/echo/")
    assert request.startswith(b"GET /echo/ HTTP/1.1\r\n")
    assert b"Extensions" not in request


@pytest.mark.parametrize("head", [b"403 Forbidden", b"101 Switching Protocols\r\nSec-WebSocket-Accept: other"])
def test_an_answer_that_refuses_the_handshake_ends_the_load(head: bytes):
    assert after_handshake(b"HTTP/1.1 " + head) is None
    with pytest.raises(LoadError, match=f"answered with 'HTTP/1.1 {head[:3].decode()}"):
        after_handshake(b"HTTP/1.1 " + head + b"\r\n\r\n")


def test_a_browser_sends_twelve_headers_and_cookies_of_its_own():
    requests = [handshake_request("127.0.0.1", 80, "/echo/", browser=number).decode() for number in (1, 2)]
    heads = [dict(line.split(": ", 1) for line in request.split("\r\n")[1:-2]) for request in requests]
    assert [len(head) for head in heads] == [12, 12]
    assert {name for name in heads[0] if heads[0][name] != heads[1][name]} == {"Cookie"}
