"""Streaming responses that need no thread while their client, or what they wait for, takes its time.

Those with an async iterator and those that are read from a file run as streams on the worker's event loop.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from typing import IO, Any
from wsgiref.util import FileWrapper

from asgiref.sync import sync_to_async
from django.core.files.base import File
from django.http import FileResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from channel_layer.channel import AnswerableMessage, Message
from channel_layer.messages import ResponseChunk, ResponseMessage
from interface_server.logs.server_log import printable
from interface_server.spool.cached import read_cached
from workers import Stream

from ..db import renew_connections
from ..runtime.django_internals import iterator_of
from ..runtime.sync_threads import keeping_shared_connections
from . import encoding, request_signals
from .flow import BROKEN_OFF, AsyncPacedSender, ClientGone

logger = logging.getLogger("channels.handler")

ANNOUNCE_SECONDS = 1.0
"""Time that the head of a response waits for the first part of its content, to be sent with it."""

FAILED: ResponseMessage = {
    "status": 500,
    "headers": [(b"Content-Type", b"text/plain; charset=utf-8")],
    "content": b"Internal Server Error\n",
    "more_content": False,
}
"""The response where the view has failed to make one."""

TURNED_AWAY: ResponseMessage = {
    "status": 503,
    "headers": [(b"Content-Type", b"text/plain; charset=utf-8"), (b"Retry-After", b"5")],
    "content": b"The service is overloaded or restarting. Please try again in a few seconds.\n",
    "more_content": False,
}
"""The response where the worker runs as many streams as it may."""


class ResponseStream(Stream):
    """A streaming response on its way to its client.

    Args:
        message: the request's message.
        response: Django's response, which is closed at the end.
        chunk_size: most bytes of content in a message.
        file: the file that the content is read from, if there is one; see `file_behind`.
        beginning: the part of the file that has been read.
    """

    def __init__(
        self,
        message: AnswerableMessage,
        response: StreamingHttpResponse,
        chunk_size: int,
        file: IO[bytes] | None = None,
        beginning: bytes = b"",
    ) -> None:
        self.name = f"the response to {described(message)}"
        self.is_finite = has_known_end(response)
        self._message = message
        self._response = response
        self._chunk_size = chunk_size
        self._file = file
        self._beginning = beginning
        self._buffer: memoryview | None = None
        self._head: ResponseChunk = encoding.head(response)
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """See `Stream.run`."""
        sender = AsyncPacedSender(self._message)
        announcing = asyncio.get_running_loop().create_task(self._announce(sender))
        parts: Any = self._response.streaming_content if self._file is None else self._read_file(self._file)
        try:
            async for part in parts:
                for chunk, _ in encoding.split(part, self._chunk_size):
                    if chunk:
                        await self._send(sender, chunk, True)
                if self._file is None:  # to read a file takes no connection
                    renew_connections()
            renew_connections()
            await self._send(sender, b"", False)
        except BaseException as error:
            sender.close()
            if not sender.is_gone:
                await self._fail(sender)
                if not isinstance(error, ClientGone):
                    raise
            reason = error if isinstance(error, ClientGone) else "the client went away"
            logger.info("%s was given up: %s", self.name, reason)
        finally:
            sender.close()
            announcing.cancel()
            await self._end(parts)

    def refuse(self) -> None:
        """See `Stream.refuse`."""
        try:
            self._message.reply_channel.send(TURNED_AWAY)
        finally:
            request_signals.close(self._response)

    async def _announce(self, sender: AsyncPacedSender) -> None:
        """Send the head alone if no content comes for a while, so that the client sees an answer."""
        await asyncio.sleep(ANNOUNCE_SECONDS)
        if self._head:
            await self._send(sender, b"", True)

    async def _send(self, sender: AsyncPacedSender, content: bytes | memoryview, more: bool) -> None:
        async with self._turn:
            await sender.send({**self._head, "content": content, "more_content": more})
            self._head = {}

    async def _fail(self, sender: AsyncPacedSender) -> None:
        await sender.send_at_all(FAILED if self._head else BROKEN_OFF)

    async def _read_file(self, file: IO[bytes]) -> AsyncIterator[bytes | memoryview]:
        """Yield the parts of the file; reads that may wait for a disk, and the closing, take place in one thread.

        A part lasts until the next one is asked for: a message holds a copy of it by then.
        """
        read = sync_to_async(file.read)
        part: bytes | memoryview = self._beginning
        self._beginning = b""
        while part:
            yield part
            part = self._read_cached(file) or await read(self._chunk_size)

    def _read_cached(self, file: IO[bytes]) -> memoryview | None:
        """Read the next part without blocking, from the system's page cache; ``None`` if it is not there."""
        if type(file) not in (io.FileIO, io.BufferedReader):
            return None
        if self._buffer is None:
            self._buffer = memoryview(bytearray(self._chunk_size))
        offset = file.tell()
        size = read_cached(file.fileno(), offset, self._buffer)
        file.seek(offset + size)
        return self._buffer[:size]

    async def _end(self, parts: object) -> None:
        """Close the generators from the outermost to the innermost, then the response."""
        # Django wraps what the view gave it, and the end of a wrapper does not end what it wraps.
        for iterator in (parts, iterator_of(self._response)):
            aclose = getattr(iterator, "aclose", None)
            try:
                if aclose is not None:
                    await aclose()
            except Exception:
                logger.exception("the end of %s failed", self.name)
        await sync_to_async(self._close)()

    def _close(self) -> None:
        with keeping_shared_connections():
            request_signals.close(self._response)


def described(message: Message) -> str:
    """Describe a request for the log."""
    return printable(f"{message.get('method')} {message.get('path', '')}")


def has_known_end(response: HttpResponseBase) -> bool:
    """Tell if a response gives its length."""
    return bool(response.has_header("Content-Length"))


def file_behind(response: HttpResponseBase) -> IO[bytes] | None:
    """Find the file behind a response, if reads in any thread are safe and quick; else return ``None``."""
    file: IO[bytes] | None
    if isinstance(response, FileResponse):
        file = response.file_to_stream
    else:
        iterator = iterator_of(response)
        file = iterator.filelike if type(iterator) is FileWrapper else None
    innermost: object = file
    while isinstance(innermost, (File, tempfile._TemporaryFileWrapper)):
        innermost = innermost.file
    return file if _is_at_hand(innermost) else None


def _is_at_hand(file: object) -> bool:
    if isinstance(file, io.BytesIO):
        return True
    if isinstance(file, (io.FileIO, io.BufferedReader, io.BufferedRandom)):
        try:
            return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        except OSError:
            return False
    return False
