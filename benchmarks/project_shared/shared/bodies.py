"""Views that take and give bodies of any size without holding them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

CHUNK = 65_536
_BLOCK = bytes(range(256)) * (CHUNK // 256)


def upload(request: HttpRequest) -> HttpResponse:
    """Read the body in chunks; answer with its size and CRC-32."""
    size = checksum = 0
    while chunk := request.read(CHUNK):
        size += len(chunk)
        checksum = zlib.crc32(chunk, checksum)
    return HttpResponse(f"{size} {checksum:08x}", content_type="text/plain")


def download(request: HttpRequest) -> StreamingHttpResponse:
    """Send so many bytes as the query asks for, in numbered blocks."""
    size = int(request.GET["size"])
    return StreamingHttpResponse(_blocks(size), content_type="application/octet-stream")


def _blocks(size: int) -> Iterator[bytes]:
    for start in range(0, size, CHUNK):
        yield ((start // CHUNK).to_bytes(8, "big") + _BLOCK[8:])[: size - start]
