"""Tests of benchmarks.frames."""

from __future__ import annotations

import pytest

from benchmarks.frames import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    FrameError,
    FrameReader,
    check_handshake,
    client_frame,
    handshake_request,
    server_frame,
)

MASK = bytes.fromhex("37fa213d")


def test_a_client_frame_is_the_one_in_the_rfc():
    assert client_frame(TEXT, b"Hello", MASK) == bytes.fromhex("818537fa213d7f9f4d5158")


def test_a_server_frame_is_the_one_in_the_rfc():
    assert server_frame(TEXT, b"Hello") == bytes.fromhex("810548656c6c6f")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_lengths_of_every_form_are_read_back(size: int):
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert FrameReader().feed(server_frame(BINARY, payload)) == [(BINARY, payload)]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_masked_payload_is_unmasked_by_the_same_key(size: int):
    frame = client_frame(BINARY, b"\x5a" * size, MASK)
    masked = frame[len(frame) - size :]
    assert bytes(byte ^ MASK[place % 4] for place, byte in enumerate(masked)) == b"\x5a" * size


def test_a_frame_that_comes_byte_by_byte_is_read_once_it_is_complete():
    reader = FrameReader()
    frame = server_frame(TEXT, b"x" * 200)
    for place in range(len(frame) - 1):
        assert reader.feed(frame[place : place + 1]) == []
    assert reader.buffered == len(frame) - 1
    assert reader.feed(frame[-1:]) == [(TEXT, b"x" * 200)]
    assert reader.buffered == 0


def test_several_frames_in_one_read_come_in_their_order():
    data = server_frame(TEXT, b"one") + server_frame(PING, b"p") + server_frame(TEXT, b"two") + b"\x81"
    reader = FrameReader()
    assert reader.feed(data) == [(TEXT, b"one"), (PING, b"p"), (TEXT, b"two")]
    assert reader.buffered == 1


def test_fragments_are_joined_around_a_ping():
    reader = FrameReader()
    assert reader.feed(b"\x01\x02He" + server_frame(PING, b"")) == [(PING, b"")]
    assert reader.buffered == 2
    assert reader.feed(b"\x80\x03llo") == [(TEXT, b"Hello")]


def test_a_close_frame_is_a_message_of_its_own():
    assert FrameReader().feed(server_frame(CLOSE, b"\x03\xe8")) == [(CLOSE, b"\x03\xe8")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (client_frame(TEXT, b"x", MASK), "masked"),
        (b"\xc1\x01x", "reserved"),
        (b"\x80\x01x", "continuation"),
        (b"\x01\x01x\x81\x01y", "inside"),
    ],
)
def test_what_breaks_the_rfc_is_refused(data: bytes, reason: str):
    with pytest.raises(FrameError, match=reason):
        FrameReader().feed(data)


def test_the_handshake_accepts_the_answer_of_the_rfc():
    head = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    check_handshake(head, "dGhlIHNhbXBsZSBub25jZQ==")


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"HTTP/1.1 403 Forbidden", "403 Forbidden"),
        (b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: other", "Accept is wrong"),
    ],
)
def test_the_handshake_refuses_any_other_answer(head: bytes, reason: str):
    with pytest.raises(FrameError, match=reason):
        check_handshake(head, "dGhlIHNhbXBsZSBub25jZQ==")


def test_the_request_offers_no_extension():
    request = handshake_request("127.0.0.1:80", "/echo/", "key")
    assert request.startswith(b"GET /echo/ HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\n")
    assert b"Extensions" not in request
