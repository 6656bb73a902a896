"""The body of a request on its way from a client to the worker that reads it."""

from __future__ import annotations

from collections.abc import Callable

from channel_layer.delivery import Outgoing
from channel_layer.messages import BODY_PATTERN

from ..bridge.context import Context
from ..bridge.uplink import Entry, SendListener
from ..spool.spool import Spool
from .rules import body_chunk

WINDOW = 2 * 1024 * 1024
"""Bytes on their way to a worker that has not said yet that it has read them."""

UNWRITTEN = 1024 * 1024
"""Bytes that may wait in memory for the disk before the client has to."""


class Upload:
    """Takes the body in, and gives it out: its beginning for the request, the rest in chunks.

    Args:
        context: what the process shares.
        local: local part of the request's reply channel.
        sender: hears what became of the chunks.
        moved: called when something was written to the spool, or came back from it.

    Attributes:
        received: bytes that have come from the client.
        complete: whether those are all.
        channel: where the chunks go, if the beginning is not all of it.
    """

    def __init__(self, context: Context, local: str, sender: SendListener, moved: Callable[[], None]) -> None:
        self.received = 0
        self.complete = False
        self.channel: str | None = None
        self._context = context
        self._sender = sender
        self._moved = moved
        self._local = local
        self._streams = context.options.stream_bodies
        self._spool = Spool(context.spools.file, context.options.body_memory)
        self._piece = bytearray()
        self._sent = 0
        self._allowed = WINDOW
        self._reader_reports = False
        self._next: Outgoing | None = None
        self._under_way: Entry | None = None
        self._last_made = False

    # -- from the client -------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """A piece from the client."""
        self.received += len(data)
        self._spool.put(data)
        self._attend()

    @property
    def is_behind(self) -> bool:
        """True while the client should wait: for the disk or, if bodies are streamed, for the worker."""
        if self._streams:
            return self._spool.size > 2 * self._context.options.body_chunk
        return self._spool.in_memory > self._context.options.body_memory + UNWRITTEN

    @property
    def is_due(self) -> bool:
        """True once the request can be sent."""
        return self.complete or (self._streams and self._spool.size > self._context.options.body_inline)

    @property
    def failure(self) -> OSError | None:
        """The error that keeps the body from being stored."""
        if self._spool.lost:
            return OSError("what was spooled cannot be read again")
        return self._spool.failure

    # -- to the worker ---------------------------------------------------------------------------

    def beginning(self) -> bytes | bytearray | None:
        """Take the part for the request message; ``None`` while it has to be fetched from the disk."""
        content = self._take(self._context.options.body_inline)
        if content is not None:
            self._sent = len(content)
            self._last_made = self.complete and self._sent == self.received
            self.channel = None if self._last_made else BODY_PATTERN + self._local
        return content

    def push(self) -> None:
        """Send chunks as far as the reader's progress allows; at most one is on its way to the layer."""
        while self._under_way is None:
            if self._next is None:
                self._next = self._make_next()
                if self._next is None:
                    return
            self._under_way = self._context.uplink.put(self._next, self._sender, patient=True, report=True, kept=True)
            if self._under_way is None:
                return  # too much waits for the layer; the clock tries again
            self._next = None

    def stored(self) -> None:
        """The chunk that was on its way is on its channel."""
        self._under_way = None

    def read(self, count: int) -> None:
        """The worker has read so many bytes of the body."""
        self._reader_reports = True
        self._allowed = max(self._allowed, count + WINDOW)

    def tick(self) -> None:
        """Send to a reader that reports nothing, too, as time passes and its channel takes it."""
        if not self._reader_reports and self._under_way is None:
            self._allowed = max(self._allowed, self._sent + WINDOW)
        self.push()

    def close(self) -> str | None:
        """Drop what is left; returns the body channel if somebody may wait there for the rest."""
        whole = self._last_made and self._next is None
        if self._under_way is not None:
            self._under_way.cancelled = True
            whole = False
        self._spool.close()
        self._attend()
        return None if whole else self.channel

    def _make_next(self) -> Outgoing | None:
        size = self._context.options.body_chunk
        if self._last_made or self._sent >= self._allowed or (not self.complete and self._spool.size < size):
            return None
        content = self._take(size)
        if content is None:
            return None
        self._sent += len(content)
        self._last_made = self.complete and self._sent == self.received
        assert self.channel is not None, "the beginning went out, and named it"
        return self._context.layer.prepare(self.channel, body_chunk(content, not self._last_made, self.received))

    def _take(self, size: int) -> bytes | bytearray | None:
        """The next so many bytes, less only at the end; ``None`` while they are fetched."""
        content = self._spool.take(size - len(self._piece))
        self._attend()
        if not self._piece and (len(content) == size or not self._spool.size):
            return content
        self._piece += content
        if len(self._piece) < size and self._spool.size:
            return None
        content = bytes(self._piece)
        self._piece.clear()
        return content

    def _attend(self) -> None:
        if not self._streams:
            self._context.spools.attend(self._spool, self._moved)
