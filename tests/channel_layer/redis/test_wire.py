from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
from collections.abc import Iterator
from typing import Any

import hiredis
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from channel_layer.redis import sync_driver, wire
from channel_layer.redis.scripts import FixedCall, LargeWord, LargeWords
from channel_layer.redis.wire import LARGE_STRING, ReplyReader, pack


@pytest.fixture(autouse=True)
def no_places() -> None:
    wire._places.clear()


def feed(answers: ReplyReader, data: bytes, most: int = 1 << 30) -> list[Any] | None:
    """Give the bytes to a reader as a socket would, at most so many at a time, up to the end of the replies."""
    replies = None
    while data:
        assert replies is None
        room = answers.room()
        count = min(len(data), len(room), most)
        room[:count] = data[:count]
        replies = answers.filled(count)
        data = data[count:]
    return replies


def plain(reply: Any) -> Any:
    """A reply with bytes for views."""
    if isinstance(reply, list):
        return [plain(part) for part in reply]
    return bytes(reply) if isinstance(reply, memoryview) else reply


def test_commands_are_packed_one_behind_the_other() -> None:
    assert pack([("ECHO", "é"), ("BLMPOP", 0.5, b"\x00", 3)]) == [
        b"*2\r\n$4\r\nECHO\r\n$2\r\n\xc3\xa9\r\n*4\r\n$6\r\nBLMPOP\r\n$3\r\n0.5\r\n$1\r\n\x00\r\n$1\r\n3\r\n"
    ]


def test_a_command_whose_bytes_are_kept_is_packed_to_the_same_ones() -> None:
    fixed = FixedCall("BLMPOP", 2.0, 1, "queue", "LEFT", "COUNT", 7).command()
    for _ in range(2):
        assert pack([fixed, ("TIME",), fixed]) == pack([tuple(fixed), ("TIME",), tuple(fixed)])


def test_large_commands_are_packed_in_another_way_to_the_same_bytes() -> None:
    large = ("RPUSH", "é", b"\x00" * 20_000, 7, 0.5, "")
    small = ("TIME",)
    assert b"".join(pack([small, LargeWords(large), small])) == b"".join(pack([small, large, small]))
    in_pieces = LargeWord((b"\x00" * 19_000, b"", b"\x00" * 1_000))
    assert b"".join(pack([LargeWords(("RPUSH", "é", in_pieces, 7, 0.5, ""))])) == b"".join(pack([large]))


def test_a_large_piece_of_a_command_is_not_copied() -> None:
    data = b"\x00" * 20_000
    pieces = pack([("TIME",), LargeWords(("RPUSH", "é", LargeWord((b"head", data, b"end")))), ("TIME",)])
    assert len(pieces) == 3
    assert pieces[1] is data


@contextlib.contextmanager
def slow_connection(got: bytearray) -> Iterator[sync_driver.SyncConnection]:
    """A connection whose socket takes little at a time; what it has written is in ``got`` afterwards."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    ours.settimeout(20)  # as redis-py's are
    connection = sync_driver.SyncConnection.__new__(sync_driver.SyncConnection)
    connection._socket = ours
    with ours, theirs:
        reader = threading.Thread(target=lambda: [got.extend(data) for data in iter(lambda: theirs.recv(3_000), b"")])
        reader.start()
        yield connection
        ours.shutdown(socket.SHUT_WR)
        reader.join(20)


@pytest.mark.parametrize("takes", [0, 1, 30_000])
def test_many_small_commands_arrive_as_they_are_however_little_the_socket_takes(
    takes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        if not takes:
            raise BlockingIOError  # the socket is full
        return real(descriptor, data[:takes])

    monkeypatch.setattr(os, "write", write)
    commands = [("ECHO", os.urandom(10_000)) for _ in range(50)]
    got = bytearray()
    with slow_connection(got) as connection:
        connection._write(commands)
    assert bytes(got) == b"".join(pack(commands))


@pytest.mark.parametrize("sizes", [[20_000], [16_384, 16_384], [1, 40_000, 5, 0, 300_000, 20_000, 3]])
@pytest.mark.parametrize("most", [512, 2])
def test_pieces_arrive_as_they_are_however_little_the_socket_takes(
    sizes: list[int], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_driver, "MOST_PIECES", most)
    words = [LargeWord((os.urandom(size),)) for size in sizes]
    command = LargeWords(("RPUSH", "queue", *words))
    got = bytearray()
    with slow_connection(got) as connection:
        connection._write([("TIME",), command, ("TIME",)])
    assert bytes(got) == b"".join(pack([("TIME",), command, ("TIME",)]))


def test_replies_come_when_the_last_byte_has_come() -> None:
    answers = ReplyReader()
    answers.expect(3)
    data = b"$3\r\nabc\r\n*-1\r\n:7\r\n"
    assert [feed(answers, data[at : at + 1]) for at in range(len(data))] == [None] * (len(data) - 1) + [
        [b"abc", None, 7]
    ]
    answers.expect(1)
    assert feed(answers, b"+OK\r\n") == [b"OK"]


def test_errors_of_single_commands_are_among_the_replies() -> None:
    answers = ReplyReader()
    answers.expect(3)
    replies = feed(answers, b"-NOSCRIPT none\r\n-UNBLOCKED by us\r\n:1\r\n")
    assert replies is not None
    forgotten, unblocked, one = replies
    assert isinstance(forgotten, redis.exceptions.NoScriptError)
    assert str(unblocked).startswith("UNBLOCKED")
    assert one == 1


def test_a_server_that_will_not_go_on_is_a_lost_connection() -> None:
    answers = ReplyReader()
    answers.expect(2)
    with pytest.raises(redis.ConnectionError):
        feed(answers, b"-NOAUTH Authentication required.\r\n")


def test_a_server_that_is_loading_goes_on_to_answer() -> None:
    answers = ReplyReader()
    answers.expect(2)
    replies = feed(answers, b"-LOADING Redis is loading the dataset in memory\r\n:1\r\n")
    assert replies is not None
    assert isinstance(replies[0], redis.BusyLoadingError)
    assert replies[1] == 1


@pytest.mark.parametrize("data", [b"?what\r\n", b":1\r\n:2\r\n", b"HTTP/1.1 400 Bad Request\r\n"])
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    answers = ReplyReader()
    answers.expect(1)
    with pytest.raises(redis.InvalidResponse):
        feed(answers, data)


def encoded(reply: Any) -> bytes:
    """A reply as a server writes it."""
    if isinstance(reply, list):
        return b"*%d\r\n" % len(reply) + b"".join(map(encoded, reply))
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    return b"*-1\r\n" if reply is None else b":%d\r\n" % reply


SIZES = st.sampled_from([0, 1, 9, 250, 4_000, LARGE_STRING - 1, LARGE_STRING, LARGE_STRING + 1, 150_000, 1_000_000])
ENDS = st.sampled_from([b"", b"x", b"\n", b"\r\n", b"\r\n$90000\r\n"])
STRINGS = st.builds(
    lambda seed, size, end: random.Random(seed).randbytes(max(0, size - len(end))) + end, st.integers(), SIZES, ENDS
)
LEAVES = st.one_of(st.none(), st.integers(-5, 10**12), STRINGS)
BOXES = st.lists(LEAVES, max_size=5)
REPLIES = st.one_of(LEAVES, BOXES, st.lists(st.one_of(LEAVES, BOXES), max_size=3))


@settings(deadline=None, max_examples=150)
@given(st.lists(st.lists(REPLIES, min_size=1, max_size=3), min_size=1, max_size=4), st.integers(1, 200_000), st.data())
def test_replies_are_those_of_hiredis_however_the_bytes_come(
    pipelines: list[list[Any]], most: int, data: st.DataObject
) -> None:
    if sum(len(encoded(reply)) for pipeline in pipelines for reply in pipeline) > 500 * most:
        most = 1_000
    answers = ReplyReader()
    reference = hiredis.Reader()
    kept: list[tuple[Any, Any]] = []
    for pipeline in pipelines:
        content = b"".join(map(encoded, pipeline))
        reference.feed(content)
        expected = [reference.gets() for _ in pipeline]
        assert expected == pipeline
        answers.expect(len(pipeline))
        replies = feed(answers, content, most)
        assert plain(replies) == expected
        if data.draw(st.booleans()):
            kept.append((replies, expected))
        del replies
        assert [plain(one) for one, _ in kept] == [one for _, one in kept], "what is looked at stays as it is"


@settings(deadline=None, max_examples=50)
@given(st.lists(REPLIES, min_size=1, max_size=2), REPLIES, st.integers(500, 100_000))
def test_what_is_asked_in_one_go_is_answered_one_after_the_other(first: list[Any], second: Any, most: int) -> None:
    answers = ReplyReader()
    answers.expect(len(first), more_follow=True)
    content = b"".join(map(encoded, [*first, second]))
    replies = None
    while replies is None:
        room = answers.room()
        count = min(len(room), most, len(content))
        room[:count], content = content[:count], content[count:]
        replies = answers.filled(count)
    assert plain(replies) == first
    answers.expect(1)
    here = answers.take()
    assert plain(here if here is not None else feed(answers, content, most)) == [second]


@pytest.mark.parametrize("first", [10, 4_000, wire.READ_BYTES])
def test_a_large_string_is_read_to_its_place(first: int) -> None:
    answers = ReplyReader()
    places = []
    for number in range(3):
        message = bytes([number]) * 1_000_000
        content = encoded([[b"queue", [message]], 1])
        answers.expect(1)
        # What the first read brings is copied, and the rest is asked for in one piece.
        assert feed(answers, content[: first + 37]) is None
        assert len(answers.room()) > 900_000
        replies = feed(answers, content[first + 37 :])
        assert replies is not None
        [[[_, [view]], _]] = replies
        assert isinstance(view, memoryview)
        assert view == message
        places.append(id(view.obj))
        del replies, view
    assert len(set(places)) == 1, "memory that nobody looks at is used again"
    assert len(wire._places) == 1


def test_memory_is_kept_for_some_large_strings_however_many_are_looked_at() -> None:
    kept = []
    for number in range(20):
        answers = ReplyReader()
        answers.expect(1)
        [view] = feed(answers, encoded(bytes([number]) * 100_000)) or []
        kept.append(view)
    assert [view == bytes([number]) * 100_000 for number, view in enumerate(kept)] == [True] * 20
    assert len(wire._places) == wire._places.maxlen


def test_threads_share_no_memory_that_is_looked_at() -> None:
    wrong = []

    def read(number: int) -> None:
        answers = ReplyReader()
        message = bytes([number]) * 200_000
        for _ in range(300):
            answers.expect(1)
            replies = feed(answers, encoded(message), 70_000)
            if replies != [message]:
                wrong.append(number)
            del replies

    threads = [threading.Thread(target=read, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_memory_of_a_very_large_string_is_not_kept() -> None:
    answers = ReplyReader()
    for size in (wire.MOST_KEPT + 1, 100_000):
        answers.expect(1)
        replies = feed(answers, encoded(bytes(size)))
        assert replies is not None
        assert len(replies[0]) == size
        assert len(replies[0].obj) < size + 100
        del replies


@pytest.mark.parametrize("length", [wire.LARGEST_STRING + 1, 10**17])
def test_a_server_that_announces_an_enormous_string_gets_no_memory_for_it(length: int) -> None:
    answers = ReplyReader()
    answers.expect(1)
    assert feed(answers, b"$%d\r\n" % length + b"x" * 1_000) is None
    assert len(answers.room()) == wire.READ_BYTES


def test_a_string_that_is_longer_than_it_says_is_refused() -> None:
    answers = ReplyReader()
    answers.expect(1)
    with pytest.raises(redis.InvalidResponse):
        feed(answers, encoded(bytes(100_000))[:-2] + b"xx")


@pytest.mark.parametrize("before", [b"", b"*2\r\n$1\r\nx\r\n"])
def test_the_content_of_a_string_is_not_taken_for_the_head_of_a_large_one(before: bytes) -> None:
    answers = ReplyReader()
    answers.expect(1)
    message = b"first" + encoded(bytes(90_000))[:100]
    content = before + encoded(message)
    at = content.index(b"$90000")
    assert feed(answers, content[:at]) is None
    replies = feed(answers, content[at:-1])
    assert replies is None
    assert feed(answers, content[-1:]) == [[b"x", message] if before else message]
