"""Tests of benchmarks.crowd.expected."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from benchmarks.crowd.expected import matched
from benchmarks.frames import PING, PONG, TEXT, client_frame, server_frame
from benchmarks.sockets import MASK, Connection, LoadError

FRAMES = server_frame(TEXT, b"first") + server_frame(TEXT, b"other")
SIZE = len(FRAMES) // 2
A_PING = server_frame(PING, b"there")


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    near, far = socket.socketpair()
    yield Connection(near, 7), far
    near.close()
    far.close()


@pytest.mark.parametrize("cut", range(len(FRAMES)))
def test_however_it_is_cut_what_came_is_counted(pair: tuple[Connection, socket.socket], cut: int) -> None:
    got = 0
    for piece in (FRAMES[:cut], FRAMES[cut:]):
        if piece:
            got = matched(pair[0], FRAMES, SIZE, got, piece)
    assert got == len(FRAMES)


@pytest.mark.parametrize("place", [0, SIZE, 2 * SIZE])
def test_a_ping_between_frames_is_answered_and_not_counted(pair: tuple[Connection, socket.socket], place: int) -> None:
    assert matched(pair[0], FRAMES, SIZE, 0, FRAMES[:place] + A_PING + FRAMES[place:]) == len(FRAMES)
    assert pair[1].recv(100) == client_frame(PONG, b"there", MASK)


def test_bytes_of_a_ping_inside_a_frame_are_content(pair: tuple[Connection, socket.socket]) -> None:
    with pytest.raises(LoadError, match="socket 7 got something else than it should from byte 3 on"):
        matched(pair[0], FRAMES, SIZE, 3, A_PING)


@pytest.mark.parametrize("data", [FRAMES[:SIZE] * 2, FRAMES + FRAMES[:1], b""])
def test_what_is_wrong_doubled_or_closed_is_noticed(pair: tuple[Connection, socket.socket], data: bytes) -> None:
    with pytest.raises(LoadError):
        matched(pair[0], FRAMES, SIZE, 0, data)
