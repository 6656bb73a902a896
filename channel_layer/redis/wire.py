"""Commands to bytes and bytes to replies, for both drivers. No I/O.

redis-py opens the connections (addresses, TLS, users, credential providers) and then the drivers use
their sockets through hiredis without it: its own path from a command to the reply costs more than
everything else a send does, see docs/performance.md. `channel_layer.redis.redis_py` hands the sockets out.
"""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import Iterable

import hiredis
import redis

from .redis_py import error_of
from .scripts import LARGE_BYTES, FixedWords, LargeWord, LargeWords, Reply, Word

READ_BYTES = 65_536

LARGE_STRING = 65_536
"""Length of a string in a reply, in bytes, from which on it is read to its place instead of through hiredis."""

LARGEST_STRING = 67_108_864
"""Length up to which a server is believed at once. A longer string goes through hiredis, whose buffer grows with it."""

MOST_KEPT = 4_194_304
"""Bytes of the largest place for a large string that is kept for the next one."""

_places: deque[bytearray] = deque(maxlen=4)
"""Places for large strings in this process, used or free."""

_MOST_STEPS = 32
"""Parts of replies that are looked at for a large string."""

_STRING = re.compile(rb"\$(\d{1,18})\r\n")
_LINE = re.compile(rb"[*:+$_#,(%~>-][^\r\n]{0,200}\r\n")
"""The head of a string, and any line that has nothing behind it: RESP, https://redis.io/docs/reference/protocol-spec"""

_END = b"\r\n"
_LINE_FEED = _END[-1]

_NOT_YET = object()


def pack(commands: Iterable[tuple[Word, ...]]) -> list[bytes]:
    """The bytes of a pipeline, in the pieces to write: one, unless it has large words.

    hiredis appends word by word to a buffer that grows, which for 256 KiB costs up to 0.7 ms where a copy takes 0.01.
    """
    parts: list[bytes] = []
    in_pieces = False
    for command in commands:
        if type(command) is FixedWords:
            if command.packed is None:
                command.packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # as below
            parts.append(command.packed)
        elif type(command) is LargeWords:
            in_pieces = True
            parts += _parts(command)
        else:
            parts.append(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub has tuples of one word
    return _joined(parts) if in_pieces else [b"".join(parts)]


def _joined(parts: Iterable[bytes]) -> list[bytes]:
    """The same bytes, with all that lies between large parts in one piece each."""
    pieces: list[bytes] = []
    small: list[bytes] = []
    for part in parts:
        if len(part) < LARGE_BYTES:
            small.append(part)
            continue
        pieces += (b"".join(small), part)
        small = []
    return [piece for piece in (*pieces, b"".join(small)) if piece]


def _parts(command: LargeWords) -> list[bytes]:
    """A command in the Redis serialization protocol, still in pieces."""
    parts = [b"*%d\r\n" % len(command)]
    for word in command:
        if type(word) is LargeWord:
            parts += (b"$%d\r\n" % sum(map(len, word)), *word, b"\r\n")
        else:
            data = word if isinstance(word, bytes) else str(word).encode()
            parts += (b"$%d\r\n" % len(data), data, b"\r\n")
    return parts


def _find_large(data: memoryview) -> tuple[int, int, int] | None:
    """Find a large string that begins in these bytes and does not end there.

    Args:
        data: from the beginning of a part of a reply on. Replies are walked through part by part, since what a box
            holds stands behind its head.

    Returns:
        Where its head begins, where its content, and its length.
    """
    at = 0
    for _ in range(_MOST_STEPS):
        head = _STRING.match(data, at)
        if head is None:
            line = _LINE.match(data, at)
            if line is None:
                return None
            at = line.end()
            continue
        length = int(head[1])
        at = head.end() + length + len(_END)
        if at > len(data):
            return (head.start(), head.end(), length) if LARGE_STRING <= length <= LARGEST_STRING else None
    return None


def _place_for(size: int) -> memoryview:
    """Memory of at least this size: that of an earlier string, if there is one that nobody looks at any more."""
    place = None
    for _ in range(len(_places)):
        try:
            found = _places.pop()  # no other thread gets the same
        except IndexError:
            break
        if len(found) >= size:
            try:
                found.append(found.pop())  # refused as long as there are views of it
            except BufferError:
                pass
            else:
                place = found
                break
        _places.appendleft(found)
    if place is None:
        place = bytearray(size)
    view = memoryview(place)
    if size <= MOST_KEPT:
        _places.append(place)
    return view


class _LargeString:
    """A string of a reply that is read to its place, with the end of its line behind it.

    Args:
        place: memory for it and the end of the line; it may be longer.
        length: of the string.
        begin: what has come of it.
    """

    __slots__ = ("_until", "_whole", "content")

    def __init__(self, place: memoryview, length: int, begin: memoryview) -> None:
        self._whole = place[: length + len(_END)]
        self.content = self._whole[:length]
        self._until = 0
        self._whole[: len(begin)] = begin
        self.filled(len(begin))

    def room(self) -> memoryview:
        """The place of the next bytes."""
        return self._whole[self._until :]

    def filled(self, count: int) -> bool:
        """So many bytes have come; returns whether nothing is missing.

        Raises:
            redis.InvalidResponse: the string is longer than it said.
        """
        self._until += count
        if self._until < len(self._whole):
            return False
        if self._whole[-len(_END) :] != _END:
            raise redis.InvalidResponse("a string that is longer than it said")
        return True


class ReplyReader:
    """Gathers the replies to one pipeline after the other from what comes out of a socket.

    Read into `room`, and call `filled`. A string of `LARGE_STRING` bytes or more may become a `memoryview`: it is read
    to its place, which saves copying it into hiredis and out of it. hiredis gets a token in its place, which nobody can
    guess.
    """

    __slots__ = (
        "_at_part", "_buffer", "_large", "_missing", "_more_follow", "_reader", "_replies", "_room", "_strings",
        "_token",
    )  # fmt: skip

    def __init__(self) -> None:
        self._reader = hiredis.Reader(protocolError=redis.InvalidResponse, replyError=error_of, notEnoughData=_NOT_YET)
        self._missing = 0
        self._more_follow = False
        self._replies: list[Reply] = []
        self._buffer = bytearray(READ_BYTES)
        self._room = memoryview(self._buffer)
        # True if what comes next is the first byte of a part of a reply: hiredis holds nothing that is incomplete.
        self._at_part = True
        self._large: _LargeString | None = None
        self._strings: list[memoryview] = []
        self._token = b""

    def expect(self, count: int, *, more_follow: bool = False) -> None:
        """The next pipeline has so many commands, at least one.

        Args:
            more_follow: it has more, whose replies are expected afterwards.
        """
        self._missing = count
        self._more_follow = more_follow
        self._replies = []

    def room(self) -> memoryview:
        """The place for the next bytes, at least one."""
        return self._room if self._large is None else self._large.room()

    def filled(self, count: int) -> list[Reply] | None:
        """Take so many bytes from `room`, and return the replies once all have come.

        Errors of single commands are among them.

        Raises:
            redis.ConnectionError: the server will not go on with us, for example because it wants a password.
            redis.InvalidResponse: it does not speak the protocol, or says more than it was asked.
        """
        if self._large is not None:
            if not self._large.filled(count):
                return None
            self._strings.append(self._large.content)
            self._large = None
            self._at_part = True
        # Nearly all that is complete, and little of what is not, ends with a line.
        elif self._buffer[count - 1] != _LINE_FEED and self._at_part and self._begins_large(count):
            return None
        else:
            self._reader.feed(self._buffer, 0, count)  # type: ignore[arg-type]  # its stub has no bytearray
        return self.take()

    def take(self) -> list[Reply] | None:
        """The same with the bytes that are here."""
        reader, replies = self._reader, self._replies
        while self._missing:
            reply = reader.gets()
            if reply is _NOT_YET:
                self._at_part = not reader.has_data()
                return None
            if isinstance(reply, redis.ConnectionError) and not isinstance(reply, redis.BusyLoadingError):
                raise reply
            replies.append(self._restored(reply) if self._strings else reply)
            self._missing -= 1
        self._at_part = not reader.has_data()
        if not self._at_part and not self._more_follow:
            raise redis.InvalidResponse("an answer to no question")
        return replies

    def _begins_large(self, count: int) -> bool:
        """Look for a large string whose beginning has come, and read it to its place from now on."""
        with self._room[:count] as data:
            found = _find_large(data)
            if found is None:
                return False
            head, start, length = found
            self._token = self._token or secrets.token_bytes(16)
            self._reader.feed(self._buffer, 0, head)  # type: ignore[arg-type]  # the same
            self._reader.feed(b"$%d\r\n%b\r\n" % (len(self._token), self._token))
            self._large = _LargeString(_place_for(length + len(_END)), length, data[start:])
        return True

    def _restored(self, reply: Reply) -> Reply:
        """A reply, or a part of it, with strings for tokens."""
        if type(reply) is list:
            return [self._restored(part) for part in reply]
        return self._strings.pop(0) if reply == self._token else reply
