"""The body of a response on its way from its producer to a client that may be slow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..options import Options
from ..spool.spool import Spool
from ..spool.threads import SpoolThreads
from ..wire.responses import Head

PIECE = 16_384
"""Bytes given to a connection at a time; what a connection holds cannot be spooled any more."""

LARGE_PIECE = 65_536
"""The same while nothing is spooled: then no client is slow, and larger pieces are cheaper."""

PROVEN_BYTES = 1024 * 1024
"""Bytes that a client has taken without delay after which it gets whole parts, while nothing is spooled."""

HIGH_WATER = 16_384
"""Bytes that a connection holds beyond which it gets no more, and after which it says that it caught up."""

IN_FLIGHT = 2 * 1024 * 1024
"""Bytes that a producer which waits for reports may have sent beyond the last one."""

WRITTEN_REPORT_BYTES = 786_432
"""Progress that is worth a report to the producer. Each report wakes its process, so there should be few. If there were
fewer, a producer might wait for one that does not come: beside less than this, the longest message (1.25 MiB) still
fits into `IN_FLIGHT`."""

KEPT = 1024 * 1024
"""Bytes of one response in memory, as long as all responses together do not have too many there."""


class BodyWriter(Protocol):
    """Target of the body of a response. No call blocks."""

    def write(self, content: bytes, more: bool) -> None:
        """The next part; the last one unless there is ``more``."""

    def buffered(self) -> int:
        """Bytes that the client has not taken yet."""


class ResponseWriter(BodyWriter, Protocol):
    """The client's side of an exchange. No call blocks; framing is the writer's business."""

    def start(self, head: Head, content: bytes, more: bool) -> None:
        """Begin the response; it is complete unless there is ``more``."""

    def abort(self) -> None:
        """Cut the connection, so that the client sees that the response is incomplete."""

    def pause(self) -> None:
        """Take no further body bytes from the client for now."""

    def resume(self) -> None:
        """Take body bytes again."""

    def expect(self) -> None:
        """The body is wanted now (``100 Continue``)."""


class Download:
    """Takes what the producer sends at once, and gives it to the connection at the pace of the client.

    Args:
        spools: where to keep what the client does not take yet.
        options: limits.
        writer: the client's side; the response has been started on it.
        moved: called when something was written to the spool, or came back from it.
        begun: bytes that the connection has got already.

    Attributes:
        taken: bytes that have come from the producer.
        given: bytes that the connection has got.
        reported: bytes that the producer knows to have been taken.
    """

    def __init__(
        self,
        spools: SpoolThreads,
        options: Options,
        writer: BodyWriter,
        moved: Callable[[], None],
        begun: int = 0,
    ) -> None:
        self.taken = begun
        self.given = begun
        self._spools = spools
        self._options = options
        self._writer = writer
        self._moved = moved
        self._spool: Spool | None = None  # until the client is slower than its producer
        self._ended = False
        self.reported = 0
        self._drained = 0

    def put(self, content: bytes, more: bool) -> None:
        """The next part from the producer."""
        size = len(content)
        self.taken += size
        self._ended = not more
        waiting = self._spool is not None and self._spool.size
        if not waiting and (not size or self._takes_at_once(size)):
            self.given += size
            self._writer.write(content, more)
            return
        if self._spool is None:
            self._spool = Spool(self._spools.file, KEPT)
        self._spool.put(content)
        self.pump()

    def pump(self) -> None:
        """Give the connection as much as it takes."""
        spool, writer = self._spool, self._writer
        if spool is None:
            return
        size = piece_size(self._spools)
        while spool.size and writer.buffered() <= HIGH_WATER:
            piece = spool.take(size)
            if not piece:
                break
            self.given += len(piece)
            writer.write(bytes(piece), not self._ended or spool.size > 0)
        self._spools.attend(spool, self._moved)

    def _takes_at_once(self, size: int) -> bool:
        """True if the connection may get so many bytes that have not been in the spool."""
        buffered = self._writer.buffered()
        if size <= piece_size(self._spools):
            return buffered <= HIGH_WATER
        return not buffered and self.given >= PROVEN_BYTES and not self._spools.file.used

    @property
    def failure(self) -> OSError | None:
        """The error that keeps more from being spooled; then only as much is taken as fits into memory."""
        return None if self._spool is None else self._spool.failure

    @property
    def is_over(self) -> bool:
        """True once the connection has got everything."""
        return self._ended and (self._spool is None or not self._spool.size)

    def report(self) -> int | None:
        """Return the bytes taken over, if they are worth a report and the producer may send more."""
        if self.taken - self.reported < WRITTEN_REPORT_BYTES or self._ended:
            return None
        spool, limit = self._spool, max(self._options.response_spool, IN_FLIGHT + KEPT)
        if spool is not None and (spool.in_memory > KEPT or spool.size + IN_FLIGHT > limit):
            return None
        self.reported = self.taken
        return self.taken

    def problem(self) -> str | None:
        """Return the reason to cut the response, if there is one."""
        spool, options = self._spool, self._options
        if spool is None:
            return None
        if spool.lost:
            return "what was spooled of it cannot be read again"
        if spool.in_memory > options.response_buffer or spool.size > options.response_spool:
            return "its producer does not wait for the client"
        return None

    def has_moved(self) -> bool:
        """Tell if the client has taken something since the last call, or has nothing to take.

        What lies in memory for longer than that goes to the disk.
        """
        waiting = self._writer.buffered()
        drained = self.given - waiting
        if drained != self._drained or (not waiting and not (self._spool and self._spool.size)):
            self._drained = drained
            return True
        if self._spool is not None:
            self._spool.forgive()
            self._spools.attend(self._spool, self._moved, idle=True)
        return False

    def close(self) -> None:
        """Drop what is left."""
        if self._spool is not None:
            self._spool.close()
            self._spools.attend(self._spool)


def piece_size(spools: SpoolThreads) -> int:
    """Return the number of bytes that a connection gets at a time now."""
    return PIECE if spools.file.used else LARGE_PIECE
