"""The body of a request, fetched when it is first read."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Iterator
from typing import IO

from channel_layer.codec import EMPTY
from channel_layer.delivery import Outgoing
from channel_layer.exceptions import LayerUnavailable
from channel_layer.layer import ChannelLayer

from ..exceptions import RequestAborted, RequestTimeout

CHUNKS_PER_RECEIVE = 16
WAIT_SECONDS = 5.0

REPORT_BYTES = 1024 * 1024
"""Progress after which a report is sent: half of the window of the senders, so that it never closes."""


class LazyBody(io.IOBase):
    """A seekable file with the body of an ``http.request``, the part on its body channel included.

    Nothing is fetched before the first read, which blocks until the whole body has arrived. Chunks are taken off
    the channel as fast as they come, because they expire there; progress is reported, so that more are sent.

    Args:
        first: what the message itself holds.
        layer: the layer to receive from.
        channel: the body channel.
        length: of the whole body, if it is known before the last chunk says it; a body of another length is incomplete.
        reports: the channel on which the sender of the chunks hears of progress.
        timeout: longest wait for a next chunk, in seconds.
        memory: size in bytes above which the body is kept in a temporary file.
    """

    def __init__(
        self,
        first: bytes,
        layer: ChannelLayer,
        channel: str,
        timeout: float,
        memory: int,
        length: int | None = None,
        reports: str | None = None,
    ) -> None:
        self._first = first
        self._layer = layer
        self._channel = channel
        self._length = length
        self._reports = reports
        self._timeout = timeout
        self._memory = memory
        self._file: IO[bytes] | None = None
        self.failure: RequestAborted | None = None

    def size(self) -> int:
        """Fetch the body and return its length.

        Raises:
            RequestTimeout, RequestAborted: as `read`.
        """
        file = self._fetched()
        here = file.tell()
        length = file.seek(0, io.SEEK_END)
        file.seek(here)
        return length

    def read(self, size: int = -1) -> bytes:
        """Read like a file.

        Raises:
            RequestTimeout: no next chunk came in time.
            RequestAborted: the client went away, or a part of the body was lost on its way.
        """
        return self._fetched().read(size)

    def readline(self, size: int | None = -1) -> bytes:
        """Read a line like a file.

        Raises:
            RequestTimeout, RequestAborted: as `read`.
        """
        return self._fetched().readline(-1 if size is None else size)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._fetched())

    def seekable(self) -> bool:
        """True."""
        return True

    def readable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move like in a file."""
        return self._fetched().seek(offset, whence)

    def tell(self) -> int:
        """Position like in a file."""
        return self._file.tell() if self._file is not None else 0

    def close(self) -> None:
        """Close the temporary file."""
        if self._file is not None:
            self._file.close()
        super().close()

    def _fetched(self) -> IO[bytes]:
        if self.failure is not None:
            raise self.failure
        if self._file is None:
            file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=self._memory)  # noqa: SIM115
            try:
                self._fetch(file)
            except RequestAborted as failure:
                self.failure = failure
                file.close()
                raise
            file.seek(0)
            self._file, self._first = file, b""
        return self._file

    def _fetch(self, file: IO[bytes]) -> None:
        received = file.write(self._first)
        reported = -REPORT_BYTES  # the first chunks are reported: senders are to know that this reader reports
        deadline = time.monotonic() + self._timeout
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise RequestTimeout(f"no more of the request's body came within {self._timeout:g} seconds")
            # Comes back early when the worker is asked to stop; what it has begun it finishes.
            deliveries = self._layer.receive_batch([self._channel], CHUNKS_PER_RECEIVE, min(remaining, WAIT_SECONDS))
            for delivery in deliveries:
                chunk = delivery.message
                if chunk.get("closed"):
                    raise RequestAborted("the client went away before its request was complete")
                received += file.write(chunk.get("content") or b"")
                if not chunk.get("more_content"):
                    for length in (self._length, chunk.get("length")):
                        if length is not None and received != length:
                            raise RequestAborted(f"of the request's body came {received} bytes and not {length}")
                    return
            if deliveries:
                deadline = time.monotonic() + self._timeout
                if received - reported >= REPORT_BYTES:
                    reported = received
                    self._report(received)

    def _report(self, received: int) -> None:
        if self._reports is None:
            return
        try:
            self._layer.send_batch([Outgoing(self._reports, EMPTY, {"read": received})])
        except LayerUnavailable:
            pass  # the next report says the same and more, and receiving fails if there is none
