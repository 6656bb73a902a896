from __future__ import annotations

import os
import socket
import threading

import pytest
import redis

from channel_layer.redis import sync_driver
from channel_layer.redis.scripts import LargeWord, LargeWords
from channel_layer.redis.wire import ReplyReader, pack


def test_commands_are_packed_one_behind_the_other() -> None:
    assert pack([("ECHO", "é"), ("BLMPOP", 0.5, b"\x00", 3)]) == [
        b"*2\r\n$4\r\nECHO\r\n$2\r\n\xc3\xa9\r\n*4\r\n$6\r\nBLMPOP\r\n$3\r\n0.5\r\n$1\r\n\x00\r\n$1\r\n3\r\n"
    ]


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


@pytest.mark.parametrize("sizes", [[20_000], [16_384, 16_384], [1, 40_000, 5, 0, 300_000, 20_000, 3]])
@pytest.mark.parametrize("most", [512, 2])
def test_pieces_arrive_as_they_are_however_little_the_socket_takes(
    sizes: list[int], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_driver, "MOST_PIECES", most)
    words = [LargeWord((os.urandom(size),)) for size in sizes]
    command = LargeWords(("RPUSH", "queue", *words))
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    ours.settimeout(20)  # as redis-py's are
    connection = sync_driver.SyncConnection.__new__(sync_driver.SyncConnection)
    connection._socket = ours
    got = bytearray()
    with ours, theirs:
        reader = threading.Thread(target=lambda: [got.extend(data) for data in iter(lambda: theirs.recv(3_000), b"")])
        reader.start()
        connection._write([("TIME",), command, ("TIME",)])
        ours.shutdown(socket.SHUT_WR)
        reader.join(20)
    assert bytes(got) == b"".join(pack([("TIME",), command, ("TIME",)]))


def test_replies_come_when_the_last_byte_has_come() -> None:
    answers = ReplyReader()
    answers.expect(3)
    data = b"$3\r\nabc\r\n*-1\r\n:7\r\n"
    assert [answers.feed(data[at : at + 1]) for at in range(len(data))] == [None] * (len(data) - 1) + [
        [b"abc", None, 7]
    ]
    answers.expect(1)
    assert answers.feed(b"+OK\r\n") == [b"OK"]


def test_errors_of_single_commands_are_among_the_replies() -> None:
    answers = ReplyReader()
    answers.expect(3)
    replies = answers.feed(b"-NOSCRIPT none\r\n-UNBLOCKED by us\r\n:1\r\n")
    assert replies is not None
    forgotten, unblocked, one = replies
    assert isinstance(forgotten, redis.exceptions.NoScriptError)
    assert str(unblocked).startswith("UNBLOCKED")
    assert one == 1


def test_a_server_that_will_not_go_on_is_a_lost_connection() -> None:
    answers = ReplyReader()
    answers.expect(2)
    with pytest.raises(redis.ConnectionError):
        answers.feed(b"-NOAUTH Authentication required.\r\n")


def test_a_server_that_is_loading_goes_on_to_answer() -> None:
    answers = ReplyReader()
    answers.expect(2)
    replies = answers.feed(b"-LOADING Redis is loading the dataset in memory\r\n:1\r\n")
    assert replies is not None
    assert isinstance(replies[0], redis.BusyLoadingError)
    assert replies[1] == 1


@pytest.mark.parametrize("data", [b"?what\r\n", b":1\r\n:2\r\n", b"HTTP/1.1 400 Bad Request\r\n"])
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    answers = ReplyReader()
    answers.expect(1)
    with pytest.raises(redis.InvalidResponse):
        answers.feed(data)
