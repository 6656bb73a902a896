"""Encoding of Django's responses as ``http.response`` messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import TypeGuard, TypeVar

from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from channel_layer.messages import ResponseChunk, ResponseMessage

from ..runtime.django_internals import header_fields
from ..runtime.sync_threads import SyncThreads

Bytes = TypeVar("Bytes", bytes, memoryview)

BODILESS = frozenset({204, 304})
"""Statuses whose responses have no content (RFC 9110, 6.4.1)."""


def is_streaming(response: HttpResponseBase) -> TypeGuard[StreamingHttpResponse]:
    """Tell if the content of a response comes from an iterator."""
    return response.streaming


def is_whole(response: HttpResponseBase) -> TypeGuard[HttpResponse]:
    """Tell if a response has its content."""
    return not response.streaming


def encode_headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    """Encode headers and cookies of a response as pairs of byte strings."""
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in header_fields(response)]
    for cookie in response.cookies.values():
        headers.append((b"Set-Cookie", cookie.output(header="").encode("ascii").strip()))
    return headers


def head(response: HttpResponseBase) -> ResponseMessage:
    """Make the first message of a response, still without content."""
    return {"status": response.status_code, "headers": encode_headers(response)}


def split(data: Bytes, size: int) -> Iterator[tuple[Bytes, bool]]:
    """Cut bytes into pairs of a chunk and a flag for the last one. Yields at least one chunk, which may be empty."""
    if len(data) <= size:
        yield data, True
        return
    last = len(data) - size
    for start in range(0, len(data), size):
        yield data[start : start + size], start >= last


def encode_whole(response: HttpResponseBase, chunk_size: int, with_content: bool = True) -> ResponseChunk | None:
    """Make the message of a response that has only one; ``None`` for others. See `encode`."""
    content = b""
    if with_content and response.status_code not in BODILESS:
        if not is_whole(response):
            return None
        content = response.content
        if len(content) > chunk_size:
            return None
    first: ResponseChunk = head(response)
    return {**first, "content": content, "more_content": False}


def encode(response: HttpResponseBase, chunk_size: int, with_content: bool = True) -> Iterator[ResponseChunk]:
    """Yield the messages of a response: one with the head, and one for each further chunk.

    A streaming response is read while it is encoded; each of its parts is yielded as soon as it exists.

    Args:
        response: any response of Django's.
        chunk_size: most bytes of content in a message.
        with_content: whether the client wants the content; it does not for HEAD.
    """
    whole = encode_whole(response, chunk_size, with_content)
    if whole is not None:
        yield whole
        return
    first: ResponseChunk = head(response)
    if is_whole(response):
        for chunk, is_last in split(response.content, chunk_size):
            yield {**first, "content": chunk, "more_content": not is_last}
            first = {}
        return
    if isinstance(response, FileResponse):
        response.block_size = chunk_size
    assert is_streaming(response)
    for part in _parts(response):
        for chunk, _ in split(part, chunk_size):
            if chunk:
                yield {**first, "content": chunk, "more_content": True}
                first = {}
    yield {**first, "content": b"", "more_content": False}


def _parts(response: StreamingHttpResponse) -> Iterator[bytes]:
    if not response.is_async:
        yield from response
        return
    # One event loop for the whole iteration: what the generator holds (locks, connections) belongs to it.
    # Django's own way from here would be to collect the whole stream first, which may have no end.
    # And one thread for what it queries, whose database connections end with it.
    iterator: AsyncGenerator[bytes] = response.streaming_content  # type: ignore[assignment]  # as it is_async
    side = SyncThreads(1)
    with asyncio.Runner() as runner:
        runner.run(_enter(side))
        try:
            while True:
                try:
                    part = runner.run(_next(iterator))
                except StopAsyncIteration:
                    return
                yield part
        finally:
            runner.run(iterator.aclose())
            side.close()


async def _enter(side: SyncThreads) -> None:
    side.enter()


async def _next(iterator: AsyncIterator[bytes]) -> bytes:
    return await anext(iterator)
