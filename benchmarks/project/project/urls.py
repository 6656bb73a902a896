"""One view, as small as a view can be, and two that take and give bodies of any size without holding them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

CHUNK = 65_536
_BLOCK = bytes(range(256)) * (CHUNK // 256)


def hello(request: HttpRequest) -> HttpResponse:
    """Say hello."""
    return HttpResponse("Hello, world.\n", content_type="text/plain")


def upload(request: HttpRequest) -> HttpResponse:
    """Read the body in chunks; answer with its size and CRC-32."""
    size = checksum = 0
    while chunk := request.read(CHUNK):
        size += len(chunk)
        checksum = zlib.crc32(chunk, checksum)
    return HttpResponse(f"{size} {checksum:08x}", content_type="text/plain")


def download(request: HttpRequest) -> StreamingHttpResponse:
    """Send so many bytes as the query asks for, in numbered blocks."""
    return StreamingHttpResponse(_blocks(int(request.GET["size"])), content_type="application/octet-stream")


def _blocks(size: int) -> Iterator[bytes]:
    for start in range(0, size, CHUNK):
        yield ((start // CHUNK).to_bytes(8, "big") + _BLOCK[8:])[: size - start]


urlpatterns = [path("", hello), path("upload/", upload), path("download/", download)]
