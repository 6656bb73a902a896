"""One large body up or down over a plain HTTP/1.1 connection, checked by its length and CRC-32."""

from __future__ import annotations

import http.client
import time
import zlib
from collections.abc import Iterable, Iterator

from .sockets import LoadError

CHUNK = 65_536
TIMEOUT = 60.0

BLOCK = bytes(range(256)) * (CHUNK // 256)
"""Content of a block; each begins with its number, so that lost, doubled or swapped ones are noticed."""


def blocks(size: int) -> Iterator[bytes]:
    """A body of so many bytes, in pieces."""
    for start in range(0, size, CHUNK):
        block = (start // CHUNK).to_bytes(8, "big") + BLOCK[8:]
        yield block[: size - start]


def summed(pieces: Iterable[bytes]) -> str:
    """Length and CRC-32 of a body, as the view writes them."""
    size = found = 0
    for piece in pieces:
        size, found = size + len(piece), zlib.crc32(piece, found)
    return f"{size} {found:08x}"


def upload(host: str, port: int, path: str, size: int) -> float:
    """Send a body; returns the seconds until the answer, which must be its size and checksum, was there.

    Raises:
        LoadError: it was something else.
    """
    headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
    return _transfer(host, port, "POST", path, size, headers)


def download(host: str, port: int, path: str, size: int) -> float:
    """Get a body of this size; returns the seconds until its end.

    Raises:
        LoadError: it was another one.
    """
    return _transfer(host, port, "GET", f"{path}?size={size}", size, {})


def _transfer(host: str, port: int, method: str, path: str, size: int, headers: dict[str, str]) -> float:
    expected = summed(blocks(size))
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    began = time.perf_counter()
    try:
        connection.request(method, path, body=blocks(size) if method == "POST" else None, headers=headers)
        response = connection.getresponse()
        pieces = iter(lambda: response.read(CHUNK), b"")
        found = next(pieces, b"").decode("latin-1") if method == "POST" else summed(pieces)
    except (OSError, http.client.HTTPException) as error:
        raise LoadError(f"the {method} of {size:,} bytes broke off: {error!r}") from error
    finally:
        connection.close()
    seconds = time.perf_counter() - began
    if response.status != 200 or found != expected:
        raise LoadError(f"the {method} was answered with {response.status} {found[:80]!r}, not {expected!r}")
    return seconds
