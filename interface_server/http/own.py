"""A request that the interface server answers itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..monitoring import Answer
from ..wire.responses import Head
from .download import ResponseWriter


class OwnExchange:
    """The exchange of such a request; see `HttpExchange`. Consumers and the access log know nothing of it.

    Args:
        writer: of the response.
        answer: makes it.
        loop: given if that may block: then it is done in a thread.
    """

    def __init__(
        self, writer: ResponseWriter, answer: Callable[[], Answer], loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self._writer = writer
        self._answer = answer
        self._loop = loop
        self._gone = False
        self._making: asyncio.Future[Answer] | None = None

    def begin(self, expected: int | None = None) -> None:
        """The exchange has its turn on the connection."""
        if self._loop is None:
            self._write(self._answer())
        else:
            self._making = self._loop.run_in_executor(None, self._answer)
            self._making.add_done_callback(lambda made: self._write(made.result()))

    def _write(self, answer: Answer) -> None:
        if self._gone:
            return
        headers = [(b"content-type", answer.content_type.encode()), (b"cache-control", b"no-store")]
        self._writer.start(Head({"status": answer.status, "headers": headers}), answer.content, False)

    def feed(self, data: bytes) -> None:
        """A piece of a body, which is not looked at."""

    def end(self) -> None:
        """The request is complete."""

    def gone(self) -> None:
        """The client left."""
        self._gone = True

    def drained(self) -> None:
        """The client has taken what the connection held."""
