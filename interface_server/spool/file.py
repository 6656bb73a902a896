"""One anonymous file for all bodies of a process that wait for a slow reader."""

from __future__ import annotations

import errno
import heapq
import os
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

from .cached import read_cached

BLOCK = 262_144
"""Bytes of a block, the unit in which the file is given out."""

Extent = tuple[int, int]
"""Offset and length of a piece of the file."""

Content = bytes | bytearray | memoryview

_MOST_BUFFERS = 1_024
"""Most buffers that the system takes in one call (``IOV_MAX``)."""


class SpoolFile:
    """An anonymous temporary file, given out in blocks, and the account of the memory in front of it.

    Thread-safe. It vanishes with the process, and shrinks as its last blocks become free. Belongs to
    the process that opened it.

    Args:
        directory: where; empty for the system's directory for temporary files.
        limit: most bytes in use.
        memory: bytes that all bodies together may have in memory before each keeps the least only.
    """

    def __init__(self, directory: str, limit: int, memory: int) -> None:
        self._directory = directory or tempfile.gettempdir()
        self._limit = limit
        self._memory_limit = memory
        self._memory = 0
        self._file = -1
        self._closed = False
        self._blocks = 0
        self._free: set[int] = set()
        self._lowest: list[int] = []
        self._lock = threading.Lock()
        self._memory_lock = threading.Lock()

    def open(self) -> None:
        """Open the file, if it is not open.

        Raises:
            OSError: the directory cannot be used; its ``filename`` is the directory.
        """
        with self._lock:
            self._open()

    def close(self) -> None:
        """Give everything back, for good; no work may be under way."""
        with self._lock:
            self._closed = True
            if self._file >= 0:
                os.close(self._file)
            self._file = -1
            self._blocks = 0
            self._free.clear()
            self._lowest.clear()

    @property
    def used(self) -> int:
        """Bytes of the blocks in use."""
        return (self._blocks - len(self._free)) * BLOCK

    @property
    def has_room(self) -> bool:
        """True if another block may be taken."""
        return self.used < self._limit

    @property
    def is_crowded(self) -> bool:
        """True if more is in memory than all bodies together may have there."""
        return self._memory > self._memory_limit

    @property
    def memory(self) -> int:
        """Bytes in memory."""
        return self._memory

    def count(self, size: int) -> None:
        """Count bytes that have come into memory, or have left it."""
        with self._memory_lock:
            self._memory += size

    def take(self, count: int) -> list[int]:
        """Blocks for a body.

        Raises:
            OSError: there are no more, or the file cannot be opened.
        """
        with self._lock:
            self._open()
            if self.used + count * BLOCK > self._limit:
                raise OSError(errno.ENOSPC, "the limit of all spooled bodies is reached", self._directory)
            return [self._take_one() for _ in range(count)]

    def give_back(self, blocks: Iterable[int]) -> None:
        """Blocks are not needed any more; the end of the file is cut off as far as it is free."""
        with self._lock:
            if self._file < 0:
                return
            for block in blocks:
                self._free.add(block)
                heapq.heappush(self._lowest, block)
            before = self._blocks
            while self._blocks and self._blocks - 1 in self._free:
                self._blocks -= 1
                self._free.discard(self._blocks)
            if self._blocks != before:
                os.ftruncate(self._file, self._blocks * BLOCK)

    def write(self, extents: Sequence[Extent], pieces: Sequence[Content]) -> None:
        """Write pieces one after the other into parts of the file that have room for them; raises `OSError`."""
        left: deque[memoryview] = deque(memoryview(piece) for piece in pieces if piece)
        for offset, length in extents:
            while length and left:
                views: list[memoryview] = []
                size = 0
                for view in islice(left, _MOST_BUFFERS):
                    if size == length:
                        break
                    views.append(view[: length - size])
                    size += len(views[-1])
                written = os.pwritev(self._file, views, offset)
                offset, length = offset + written, length - written
                while written:
                    view = left.popleft()
                    if len(view) > written:
                        left.appendleft(view[written:])
                    written -= min(len(view), written)

    def read(self, extent: Extent) -> bytes:
        """Read a piece of the file; raises `OSError`."""
        offset, length = extent
        content = os.pread(self._file, length, offset)
        if len(content) != length:
            raise OSError(errno.EIO, "a spooled body has lost its end", self._directory)
        return content

    def read_cached(self, extent: Extent, into: memoryview) -> int:
        """Read the beginning of a piece of the file as far as that needs no disk; returns how much that is."""
        offset, length = extent
        return read_cached(self._file, offset, into[:length])

    def _open(self) -> None:
        if self._file >= 0:
            return
        if self._closed:
            raise OSError(errno.EBADF, "the spool file is closed", self._directory)
        try:
            self._file = os.open(self._directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC | os.O_EXCL, 0o600)
        except (AttributeError, OSError):  # not on every system, and not on every file system
            try:
                self._file, path = tempfile.mkstemp(prefix="millrace-", dir=self._directory)
            except OSError as error:
                raise OSError(error.errno, error.strerror, self._directory) from None
            os.unlink(path)

    def _take_one(self) -> int:
        while self._lowest:
            block = heapq.heappop(self._lowest)
            if block in self._free:  # else it was cut off, or is here twice
                self._free.discard(block)
                return block
        self._blocks += 1
        return self._blocks - 1
