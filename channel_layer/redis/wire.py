"""Commands to bytes and bytes to replies, for both drivers. No I/O.

redis-py opens the connections (addresses, TLS, users, credential providers) and then the drivers use
their sockets through hiredis without it: its own path from a command to the reply costs more than
everything else a send does, see docs/performance.md. `channel_layer.redis.redis_py` hands the sockets out.
"""

from __future__ import annotations

from collections.abc import Iterable

import hiredis
import redis

from .redis_py import error_of
from .scripts import LARGE_BYTES, LargeWord, LargeWords, Reply, Word

_NOT_YET = object()


def pack(commands: Iterable[tuple[Word, ...]]) -> list[bytes]:
    """The bytes of a pipeline, in the pieces to write: one, unless it has large words.

    hiredis appends word by word to a buffer that grows, which for 256 KiB costs up to 0.7 ms where a copy takes 0.01.
    """
    parts: list[bytes] = []
    in_pieces = False
    for command in commands:
        if type(command) is LargeWords:
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


class ReplyReader:
    """Gathers the replies to one pipeline after the other from what comes out of a socket."""

    __slots__ = ("_missing", "_more_follow", "_reader", "_replies")

    def __init__(self) -> None:
        self._reader = hiredis.Reader(protocolError=redis.InvalidResponse, replyError=error_of, notEnoughData=_NOT_YET)
        self._missing = 0
        self._more_follow = False
        self._replies: list[Reply] = []

    def expect(self, count: int, *, more_follow: bool = False) -> None:
        """The next pipeline has so many commands, at least one.

        Args:
            more_follow: it has more, whose replies are expected afterwards.
        """
        self._missing = count
        self._more_follow = more_follow
        self._replies = []

    def feed(self, data: bytes) -> list[Reply] | None:
        """Take bytes, and return the replies once all have come; errors of single commands are among them.

        Raises:
            redis.ConnectionError: the server will not go on with us, for example because it wants a password.
            redis.InvalidResponse: it does not speak the protocol, or says more than it was asked.
        """
        self._reader.feed(data)
        return self.take()

    def take(self) -> list[Reply] | None:
        """The same with the bytes that are here."""
        reader, replies = self._reader, self._replies
        while self._missing:
            reply = reader.gets()
            if reply is _NOT_YET:
                return None
            if isinstance(reply, redis.ConnectionError) and not isinstance(reply, redis.BusyLoadingError):
                raise reply
            replies.append(reply)
            self._missing -= 1
        if not self._more_follow and reader.has_data():
            raise redis.InvalidResponse("an answer to no question")
        return replies
