from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from interface_server.wire.websocket_frames import least_size, message_frame, ping_frame, whole_message, whole_pong

SIZES = [0, 1, 2, 125, 126, 127, 300, 65_535, 65_536, 70_000]


def by_the_library(data: bytes) -> tuple[list[Frame], bool]:
    """The frames the library finds, and whether it has no complaint."""
    protocol = ServerProtocol(state=State.OPEN, max_size=100_000)
    protocol.receive_data(data)
    return list(protocol.events_received()), protocol.parser_exc is None  # type: ignore[arg-type]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_a_whole_message_is_what_the_library_reads(opcode: Opcode, size: int) -> None:
    payload = bytes(number % 251 for number in range(size))
    data = Frame(opcode, payload).serialize(mask=True)
    assert whole_message(data, None) == ((opcode is Opcode.TEXT, payload) if size < 65_536 else None)
    assert least_size(size) == len(data)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_a_frame_for_clients_is_what_the_library_writes(opcode: Opcode, size: int) -> None:
    assert message_frame(opcode is Opcode.TEXT, b"x" * size) == Frame(opcode, b"x" * size).serialize(mask=False)


@pytest.mark.parametrize("size", [0, 4, 125])
def test_a_pong_is_what_the_library_reads_and_a_ping_what_it_writes(size: int) -> None:
    payload = bytes(range(size))
    assert whole_pong(Frame(Opcode.PONG, payload).serialize(mask=True)) == payload
    assert ping_frame(payload) == Frame(Opcode.PING, payload).serialize(mask=False)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x8a",
        Frame(Opcode.PONG, b"abc").serialize(mask=False),
        Frame(Opcode.PONG, b"abc").serialize(mask=True)[:-1],
        Frame(Opcode.PONG, b"abc").serialize(mask=True) + b"\x8a",
        Frame(Opcode.PING, b"abc").serialize(mask=True),
        b"\x0a" + Frame(Opcode.PONG, b"abc").serialize(mask=True)[1:],
        b"\xca" + Frame(Opcode.PONG, b"abc").serialize(mask=True)[1:],
        b"\x8a\xfe\x00\x7e" + bytes(4) + b"x" * 126,
    ],
    ids=len,
)
def test_what_is_no_whole_pong_is_left_to_the_library(data: bytes) -> None:
    assert whole_pong(data) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x81",
        Frame(Opcode.TEXT, b"abc").serialize(mask=False),
        Frame(Opcode.TEXT, b"abc").serialize(mask=True)[:-1],
        Frame(Opcode.TEXT, b"abc").serialize(mask=True) + b"\x81",
        Frame(Opcode.TEXT, b"abc", fin=False).serialize(mask=True),
        Frame(Opcode.CONT, b"abc").serialize(mask=True),
        Frame(Opcode.PING, b"abc").serialize(mask=True),
        Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True),
        b"\xc1" + Frame(Opcode.TEXT, b"abc").serialize(mask=True)[1:],
        b"\x83" + Frame(Opcode.TEXT, b"abc").serialize(mask=True)[1:],
        b"\x81\xfe\x00\x03" + bytes(4) + b"abc",
    ],
    ids=len,
)
def test_everything_else_is_left_to_the_library(data: bytes) -> None:
    assert whole_message(data, None) is None


def test_a_message_over_the_limit_is_left_to_the_library() -> None:
    data = Frame(Opcode.BINARY, b"x" * 200).serialize(mask=True)
    assert whole_message(data, 200) == (False, b"x" * 200)
    assert whole_message(data, 199) is None


@given(
    st.sampled_from([0x81, 0x82]) | st.integers(0, 255),
    st.integers(0, 255),
    st.binary(max_size=140) | st.binary(min_size=4, max_size=140).map(lambda tail: (len(tail) - 4).to_bytes(2) + tail),
    st.booleans(),
)
def test_never_is_anything_taken_that_the_library_reads_otherwise(
    first: int, second: int, rest: bytes, fitting: bool
) -> None:
    if fitting and 4 <= len(rest) < 130:
        second = 0x80 | (len(rest) - 4)
    data = bytes([first, second]) + rest
    message = whole_message(data, 100_000)
    if message is not None:
        frames, content = by_the_library(data)
        assert content
        assert [(frame.opcode is Opcode.TEXT, frame.data, frame.fin) for frame in frames] == [(*message, True)]
