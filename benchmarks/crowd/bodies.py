"""One large body up or down over a plain HTTP/1.1 connection, checked by its length and CRC-32."""

from __future__ import annotations

import http.client
import time
import zlib
from collections.abc import Iterator

from ..sockets import LoadError

CHUNK = 65_536
TIMEOUT = 60.0

BLOCK = bytes(range(256)) * (CHUNK // 256)
"""Content of a block; each begins with its number, so that lost, doubled or swapped ones are noticed."""


def blocks(size: int) -> Iterator[bytes]:
    """A body of so many bytes, in pieces."""
    for start in range(0, size, CHUNK):
        block = (start // CHUNK).to_bytes(8, "big") + BLOCK[8:]
        yield block[: size - start]


def checksum(size: int) -> int:
    """The CRC-32 of such a body."""
    found = 0
    for block in blocks(size):
        found = zlib.crc32(block, found)
    return found


def upload(host: str, port: int, path: str, size: int) -> float:
    """Send a body; returns the seconds until the answer, which must be its size and checksum, was there.

    Raises:
        LoadError: it was something else.
    """
    expected = f"{size} {checksum(size):08x}"
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    began = time.perf_counter()
    headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
    try:
        connection.request("POST", path, body=blocks(size), headers=headers)
        response = connection.getresponse()
        text = response.read().decode("latin-1")
    except (OSError, http.client.HTTPException) as error:
        raise LoadError(f"the upload of {size:,} bytes broke off: {error!r}") from error
    seconds = time.perf_counter() - began
    connection.close()
    if response.status != 200 or text != expected:
        raise LoadError(f"the upload was answered with {response.status} {text[:80]!r}, not {expected!r}")
    return seconds


def download(host: str, port: int, path: str, size: int) -> float:
    """Get a body of this size; returns the seconds until its end.

    Raises:
        LoadError: it was another one.
    """
    expected = checksum(size)
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    found = length = 0
    began = time.perf_counter()
    try:
        connection.request("GET", f"{path}?size={size}")
        response = connection.getresponse()
        while data := response.read(CHUNK):
            found = zlib.crc32(data, found)
            length += len(data)
    except (OSError, http.client.HTTPException) as error:
        raise LoadError(f"the download broke off after {length:,} bytes: {error!r}") from error
    seconds = time.perf_counter() - began
    connection.close()
    if response.status != 200 or (length, found) != (size, expected):
        raise LoadError(f"the download ended with {response.status} and {length:,} bytes, or not with the right ones")
    return seconds
