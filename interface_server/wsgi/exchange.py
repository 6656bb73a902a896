"""One request of a WSGI server and its response, over a channel layer, in the server's own thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from channel_layer.backoff import Backoff
from channel_layer.delivery import Message
from channel_layer.exceptions import ChannelFull, ChannelLayerError, InvalidMessage, LayerUnavailable, MessageTooLarge
from channel_layer.layer import ChannelLayer
from channel_layer.messages import (
    BODY_PATTERN,
    HTTP_DISCONNECT,
    HTTP_REQUEST,
    RequestBodyMessage,
    RequestEndMessage,
    ResponseReport,
)
from channel_layer.names import split

from ..bridge.messages import MessageFactory, Scope, with_length
from ..bridge.unanswered import reason_now
from ..http.rules import body_chunk, closed_body, end_of_exchange, status_of
from ..http.upload import WINDOW
from ..logs.server_log import printable
from ..options import Options
from ..spool.file import SpoolFile
from ..spool.spool import Spool
from ..wire.responses import BadResponse, Head, ResponseCut, beginning_of
from .reader import Mailbox

logger = logging.getLogger("interface_server.wsgi")

SILENCE_SECONDS = 0.5
"""A reader of a body that reports nothing gets more of it after so long."""

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.2
"""Seconds between attempts to send a chunk to a full channel, growing up to this."""


class Failed(Exception):
    """The request is answered here, with this status, in the consumer's place."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(status)


class Input(Protocol):
    """The part of ``wsgi.input`` that is used (PEP 3333)."""

    def read(self, size: int, /) -> bytes: ...


class RequestBody:
    """The input of a request.

    Args:
        stream: ``wsgi.input``.
        length: how much of it is the body; ``None`` if it ends where the input does.
        limit: most bytes to take.
    """

    def __init__(self, stream: Input, length: int | None, limit: int) -> None:
        self.ended = length == 0
        self._stream = stream
        self._left = length
        self._room = limit

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, less only at the end.

        Raises:
            Failed: it ends too early (400) or too late (413).
        """
        parts = []
        while size > 0 and not self.ended:
            part = self._stream.read(size if self._left is None else min(size, self._left))
            if not part and self._left is not None:
                raise Failed(400)
            parts.append(part)
            size -= len(part)
            self._room -= len(part)
            if self._left is not None:
                self._left -= len(part)
            self.ended = not part if self._left is None else self._left == 0
            if self._room < 0:
                raise Failed(413)
        return b"".join(parts)


class SpooledBody:
    """The whole input of a request, taken in before the request is sent.

    Args:
        body: the input.
        file: where it is kept, if it is large.
        options: limits.

    Attributes:
        length: its size.

    Raises:
        Failed: it ends too early (400) or too late (413), or cannot be kept (503).
    """

    def __init__(self, body: RequestBody, file: SpoolFile, options: Options) -> None:
        self._spool = Spool(file, options.body_memory)
        try:
            while not body.ended:
                self._spool.put(body.read(options.body_chunk))
                self._work_off()
        except Failed:
            self.close()
            raise
        self.length = self._spool.size

    @property
    def ended(self) -> bool:
        """True once all of it was read."""
        return not self._spool.size

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, less only at the end.

        Raises:
            Failed: it was lost (503).
        """
        parts = []
        while size and self._spool.size:
            parts.append(self._spool.take(size))
            size -= len(parts[-1])
            self._work_off()
        return b"".join(parts)

    def close(self) -> None:
        """Drop what is left."""
        self._spool.close()
        self._work_off()

    def _work_off(self) -> None:
        while (work := self._spool.work()) is not None:
            work.run()
            self._spool.done(work)
            if self._spool.failure is not None or self._spool.lost:
                logger.error("a request's body cannot be kept: %s", self._spool.failure or "it was lost")
                self._spool.forgive()
                raise Failed(503)


class WsgiExchange:
    """One request and its response. Belongs to one thread; calls block.

    Args:
        layer: any channel layer.
        options: limits and times.
        factory: makes the request's message.
        scope: what is asked for, see `wsgi.scope`.
        mailbox: where answers arrive.
        tells_of_ends: whether consumers want to know of the end of complete responses too.
    """

    def __init__(
        self,
        layer: ChannelLayer,
        options: Options,
        factory: MessageFactory,
        scope: Scope,
        mailbox: Mailbox,
        tells_of_ends: Callable[[], bool] = lambda: False,
    ) -> None:
        self._tells_of_ends = tells_of_ends
        self.scope = factory.seen(scope)
        self._layer = layer
        self._options = options
        self._factory = factory
        self._mailbox = mailbox
        self._local = split(mailbox.channel)[1]
        self._dispatched = False
        self._over = False
        self._open_body: str | None = None

    def ask(self, body: RequestBody | SpooledBody) -> Message:
        """Send the request and wait for the first message of the response.

        Raises:
            Failed: there will be no response.
        """
        first = body.read(self._options.body_inline)
        self._open_body = None if body.ended else BODY_PATTERN + self._local
        if isinstance(body, SpooledBody):
            self.scope = with_length(self.scope, body.length)
        self._send_request(first)
        if self._open_body is not None:
            self._send_rest(self._open_body, body, len(first))
        answer = self._mailbox.take(self._options.http_timeout)
        if answer is None:
            why = reason_now(HTTP_REQUEST, self._options.http_timeout, self._layer)
            logger.warning("no consumer answered %s in time: %s", self.describe(), why)
            raise Failed(504)
        if answer.get("closed"):
            raise Failed(500)
        return answer

    def next(self) -> tuple[bytes, bool]:
        """The next chunk of the response, and whether there are more.

        Raises:
            ResponseCut: there will be none.
        """
        try:
            return self._mailbox.take_part(self._options.http_timeout)
        except BadResponse as error:
            raise self.cut(str(error)) from None

    def cut(self, reason: str) -> ResponseCut:
        """Give the response up; the result is to be raised."""
        logger.warning("cut off the response to %s: %s", self.describe(), reason)
        self.abandon()
        return ResponseCut(f"the response could not be completed: {reason}")

    def complete(self) -> None:
        """The response is with the client, nothing else is to be done."""
        self._over = True
        if self._dispatched and self._tells_of_ends():
            self._tell_of_end()

    def abandon(self) -> None:
        """Nobody waits for this response any more: tell those who are at work on it."""
        if self._over:
            return
        self._over = True
        if not self._dispatched:
            return
        if self._open_body is not None:
            self._tell(self._open_body, closed_body())
        self._tell(self._mailbox.flow, {"closed": True})
        self._tell_of_end()

    def _tell_of_end(self) -> None:
        self._tell(HTTP_DISCONNECT, end_of_exchange(self.scope, self._mailbox.channel))

    def describe(self) -> str:
        """Method and path for the log."""
        return printable(f"{self.scope['method']} {self.scope['path']}")

    def head(self, answer: Message) -> tuple[Head, bytes, bool]:
        """The checked beginning of the response: head, content, and whether there is more.

        Raises:
            Failed: it must not go out.
        """
        try:
            return beginning_of(answer, self.scope["method"])
        except BadResponse as error:
            logger.error("the response to %s was dropped: %s", self.describe(), error)
            raise Failed(500) from None

    def _send_request(self, first: bytes) -> None:
        message = self._factory.request(self.scope, self._mailbox.channel, first, self._open_body)
        try:
            item = self._layer.prepare(HTTP_REQUEST, message, {"flow": self._mailbox.flow})
        except (InvalidMessage, MessageTooLarge) as error:
            logger.warning("refused a request that cannot be carried: %s", error)
            raise Failed(status_of(error)) from None
        try:
            refused = self._layer.send_batch([item])
        except LayerUnavailable as error:
            logger.warning("%s was refused: %s", self.describe(), error)
            raise Failed(503) from None
        if refused:
            raise Failed(503)
        self._dispatched = True

    def _send_rest(self, channel: str, body: RequestBody | SpooledBody, sent: int) -> None:
        """Send chunks as their reader makes progress, until it has all of them or answers without."""
        allowed, deadline = WINDOW, time.monotonic() + self._options.http_timeout
        while not body.ended and not self._mailbox.is_answered:
            if sent >= allowed:
                self._mailbox.wait_for_reader(allowed - WINDOW + 1, SILENCE_SECONDS)
                read = self._mailbox.read
                if time.monotonic() > deadline:
                    logger.warning("no consumer reads the body of %s", self.describe())
                    raise Failed(504)
                if read + WINDOW <= allowed and read:
                    continue
                allowed = read + WINDOW if read else sent + WINDOW
            content = body.read(self._options.body_chunk)
            sent += len(content)
            self._send_patiently(channel, body_chunk(content, not body.ended, sent))
            deadline = time.monotonic() + self._options.http_timeout
        if body.ended:
            self._open_body = None

    def _send_patiently(self, channel: str, message: RequestBodyMessage) -> None:
        deadline = time.monotonic() + self._options.http_timeout
        pauses = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        while True:
            try:
                self._layer.send(channel, message)
                return
            except ChannelFull:
                if time.monotonic() > deadline:
                    raise Failed(503) from None
            except LayerUnavailable as error:
                logger.warning("%s was broken off: %s", self.describe(), error)
                raise Failed(503) from None
            time.sleep(pauses.next())

    def _tell(self, channel: str, message: RequestBodyMessage | RequestEndMessage | ResponseReport) -> None:
        try:
            self._layer.send(channel, message)
        except ChannelLayerError as error:
            logger.warning("%s: nobody was told of its end or progress: %s", self.describe(), error)
