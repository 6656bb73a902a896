"""Bytes that wait for a slow reader: in memory as far as it goes round, then in the spool file.

Each body is a `Spool`, a queue of bytes with a part in memory and a part in blocks of the process's
`SpoolFile`, so that a thousand slow clients cost one descriptor. No call of a `Spool` blocks: what has to be
written or read is handed out as work, to be done in a thread.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from .file import BLOCK, SpoolFile

logger = logging.getLogger("interface_server.spool")

BATCH = 524_288
"""Bytes that are worth a write, if memory is not scarce: to have a thread do it costs as much as writing them."""

LEAST = 16_384
"""Bytes that each body may have in memory, however many there are; fetched at a time while memory is scarce."""

SPENT_BLOCKS = 4
"""Blocks that have been read and are worth giving back."""

SMALL = 2_048
"""Bytes below which pieces are joined."""

Piece = bytes | bytearray | memoryview


class Work(Protocol):
    """Something to be done in a thread; then, where the spool belongs, `Spool.done` is called with it."""

    def run(self) -> None:
        """Do it; blocks, and raises nothing."""


class Spool:
    """A queue of bytes, which belongs to one thread or event loop.

    The owner asks for `work` after each `put`, `take`, `done` and `close`, and has it done.

    Args:
        file: where to.
        keep: bytes to hold in memory at most, if memory is not scarce.

    Attributes:
        size: bytes inside.
        failure: why nothing more can be written; what could not be written is still there.
        lost: what was written cannot be read again.
    """

    __slots__ = (
        "_back", "_back_size", "_blocks", "_closed", "_cold", "_file", "_filed", "_front", "_front_size", "_keep",
        "_read_at", "_spent", "_spilled", "_wanted", "_work", "_write_at", "failure", "lost", "size",
    )  # fmt: skip

    def __init__(self, file: SpoolFile, keep: int) -> None:
        self._file = file
        self._keep = max(keep, LEAST)
        self._front: deque[Piece] = deque()  # older than what is in the file
        self._front_size = 0
        self._back: deque[Piece] = deque()  # newer, and not written yet
        self._back_size = 0
        self._blocks: deque[int] = deque()
        self._spent: list[int] = []  # blocks that have been read and not been given back
        self._filed = 0
        self._read_at = 0  # in the first block
        self._write_at = BLOCK  # in the last block
        self._spilled = False  # from then on what comes goes behind the file, until that is emptied
        self._cold = False  # what was asked for last was not in the system's cache
        self._wanted = False
        self._work: Work | None = None
        self._closed = False
        self.size = 0
        self.failure: OSError | None = None
        self.lost = False

    @property
    def in_memory(self) -> int:
        """Bytes in memory, those that are being written among them."""
        return self._front_size + self._back_size

    def put(self, data: bytes) -> None:
        """Add bytes at the end."""
        if self._closed or not data:
            return
        size = len(data)
        self.size += size
        self._file.count(size)
        if self._spilled:
            _append(self._back, data)
            self._back_size += size
        else:
            _append(self._front, data)
            self._front_size += size

    def take(self, size: int) -> bytes | bytearray:
        """Remove bytes from the beginning: at most so many, as far as they are in memory or in the system's cache.

        Less than that does not mean that there is no more; the rest is fetched by the next work.
        """
        pieces: list[Piece] = []
        left = size
        while left:
            if self._front:
                piece = _split_off(self._front, left)
                self._front_size -= len(piece)
                self._file.count(-len(piece))
            elif self._filed and self._is_settled:
                piece = self._take_cached(left)
                self._cold = not piece
            else:
                break
            if not piece:
                break
            self.size -= len(piece)
            left -= len(piece)
            pieces.append(piece)
            self._come_forward()
        # Reading ahead is for those who are fast, and whom the cache does not serve.
        ahead = self._cold and not self._file.is_crowded and self._front_size < size
        self._wanted = self._filed > 0 and (left > 0 or ahead)
        if len(pieces) == 1:
            return bytes(pieces[0]) if isinstance(pieces[0], memoryview) else pieces[0]
        return b"".join(pieces)

    def work(self, *, idle: bool = False) -> Work | None:
        """Return the next write or read; ``None`` if there is nothing to do, or work is under way.

        Args:
            idle: nobody has taken anything for a while, so what can be spared should leave the memory.
        """
        if self._work is None:
            if self._closed or len(self._spent) >= SPENT_BLOCKS or (self._spent and not self._filed):
                self._work = self._release()
            elif self._wanted:
                self._work = self._fetch()
            elif self.failure is None:
                self._work = self._write(scarce=idle or self._file.is_crowded)
            return self._work
        return None

    def done(self, work: Work) -> None:
        """Work has been run."""
        self._work = None
        if isinstance(work, _Write):
            self._written(work)
        elif isinstance(work, _Fetch):
            self._fetched(work)
        self._come_forward()

    def close(self) -> None:
        """Drop everything."""
        if self._closed:
            return
        self._closed = True
        if isinstance(self._work, _Write):
            self._file.count(-self._work.size)
        self._file.count(-self._front_size - sum(map(len, self._back)))
        self._front.clear()
        self._back.clear()
        self.size = self._front_size = self._back_size = 0

    def forgive(self) -> None:
        """Try to write again after a failure."""
        self.failure = None

    @property
    def _is_settled(self) -> bool:
        """True if no work under way changes the content of the file."""
        return self._work is None or isinstance(self._work, _Release)

    def _come_forward(self) -> None:
        """Have what came after the file taken next, once nothing is left in that."""
        if self._spilled and not self._front and not self._filed and self._is_settled:
            self._front, self._back = self._back, self._front
            self._front_size, self._back_size = self._back_size, 0
            self._spilled = False

    def _write(self, scarce: bool) -> Work | None:
        if not self._spilled and self._front_size > (LEAST if scarce else self._keep):
            self._set_back()
        elif self._back_size < (LEAST if scarce else BATCH):
            return None
        pieces = list(self._back)
        self._back.clear()
        return _Write(self._file, pieces, self._blocks[-1] if self._blocks else 0, self._write_at)

    def _set_back(self) -> None:
        """Leave `LEAST` bytes in front and have the rest written."""
        rest = deque(self._front)
        self._front.clear()
        left = LEAST
        while left:
            self._front.append(bytes(_split_off(rest, left)))  # a view would hold the whole piece in memory
            left -= len(self._front[-1])
        self._back = rest
        self._back_size = self._front_size - LEAST
        self._front_size = LEAST
        self._spilled = True

    def _written(self, work: _Write) -> None:
        self._blocks.extend(work.blocks)
        if self._closed:
            return
        if work.error is not None:
            self.failure = work.error
            self._back.extendleft(reversed(work.pieces))
        else:
            self._back_size -= work.size
            self._filed += work.size
            self._write_at = work.end
            self._file.count(-work.size)

    def _take_cached(self, size: int) -> bytearray:
        """Remove bytes from the file's part, as far as they can be read without a disk."""
        content = bytearray(min(size, self._filed))
        got = 0
        with memoryview(content) as view:
            while got < len(content):
                length = min(BLOCK - self._read_at, len(content) - got)
                extent = (self._blocks[0] * BLOCK + self._read_at, length)
                count = self._file.read_cached(extent, view[got:])
                got += count
                self._filed -= count
                self._read_at += count
                if self._read_at == BLOCK or not self._filed:
                    self._spent.append(self._blocks.popleft())
                    self._read_at = 0
                if count < length:
                    break
        if not self._filed:
            self._write_at = BLOCK
        del content[got:]
        return content

    def _fetch(self) -> Work:
        length = min(BLOCK - self._read_at, self._filed, LEAST if self._file.is_crowded else BLOCK)
        spent = self._read_at + length == BLOCK or length == self._filed
        return _Fetch(self._file, self._blocks[0], self._read_at, length, spent)

    def _fetched(self, work: _Fetch) -> None:
        if work.spent:
            self._blocks.popleft()
        if self._closed:
            return
        self._wanted = False
        if work.content is None:
            self.lost = True
            return
        self._front.append(work.content)
        self._front_size += work.length
        self._filed -= work.length
        self._file.count(work.length)
        self._read_at = 0 if work.spent else self._read_at + work.length
        if not self._filed:
            self._write_at = BLOCK

    def _release(self) -> Work | None:
        blocks, self._spent = self._spent, []
        if self._closed:
            blocks += self._blocks
            self._blocks.clear()
        return _Release(self._file, blocks) if blocks else None


class _Write:
    """Pieces of a body into the rest of its last block and into new ones."""

    def __init__(self, file: SpoolFile, pieces: list[Piece], block: int, used: int) -> None:
        self._file = file
        self._block = block
        self._used = used
        self.pieces = pieces
        self.size = sum(map(len, pieces))
        self.blocks: list[int] = []
        self.error: OSError | None = None
        rest = self.size - (BLOCK - used)
        self.end = used + self.size if rest <= 0 else (rest - 1) % BLOCK + 1

    def run(self) -> None:
        room = BLOCK - self._used
        try:
            if self.size > room:
                self.blocks = self._file.take((self.size - room - 1) // BLOCK + 1)
            extents = [(self._block * BLOCK + self._used, min(room, self.size))] if room else []
            extents += [(block * BLOCK, BLOCK) for block in self.blocks]
            self._file.write(extents, self.pieces)
        except OSError as error:
            self.error = error.with_traceback(None)  # its frames would hold the pieces
            self._file.give_back(self.blocks)
            self.blocks = []


class _Fetch:
    """A block of a body, or its rest, back into memory."""

    def __init__(self, file: SpoolFile, block: int, start: int, length: int, spent: bool) -> None:
        self._file = file
        self._block = block
        self._start = start
        self.length = length
        self.spent = spent
        self.content: bytes | None = None

    def run(self) -> None:
        try:
            self.content = self._file.read((self._block * BLOCK + self._start, self.length))
        except OSError as error:
            logger.error("a spooled body cannot be read again: %s", error)
        if self.spent:
            self._file.give_back([self._block])


class _Release:
    """Blocks back to the file."""

    def __init__(self, file: SpoolFile, blocks: Iterable[int]) -> None:
        self._file = file
        self._blocks = blocks

    def run(self) -> None:
        self._file.give_back(self._blocks)


def _split_off(pieces: deque[Piece], size: int) -> Piece:
    """Take the first piece of a queue, or so many bytes of it if it is longer."""
    piece = pieces.popleft()
    if len(piece) <= size:
        return piece
    whole = memoryview(piece)  # to slice bytes would copy the long rest each time
    rest = whole[size:]
    # A view holds all of its object in memory, so a short one becomes an object of its own.
    pieces.appendleft(bytes(rest) if 4 * len(rest) <= len(whole.obj) else rest)  # type: ignore[arg-type]
    return whole[:size]


def _append(pieces: deque[Piece], data: bytes) -> None:
    """Add to a queue of pieces; tiny ones share a buffer, since each object takes as much as dozens of bytes."""
    if len(data) >= SMALL:
        pieces.append(data)
    elif pieces and isinstance(pieces[-1], bytearray) and len(pieces[-1]) < LEAST:
        pieces[-1] += data
    else:
        pieces.append(bytearray(data))
