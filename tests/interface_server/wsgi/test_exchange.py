"""Reading the body of a request from a WSGI server."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from interface_server.options import Options
from interface_server.spool.file import BLOCK, SpoolFile
from interface_server.wsgi.exchange import Failed, RequestBody, SpooledBody


class Dripping(io.BytesIO):
    """Gives three bytes at most at a time, as a socket may."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(3, size) if size is not None and size >= 0 else 3)


def test_a_body_comes_in_pieces_of_the_size_asked_for() -> None:
    body = RequestBody(Dripping(b"0123456789and the next request"), 10, 100)
    assert [body.read(4), body.ended, body.read(4), body.read(4), body.ended] == [b"0123", False, b"4567", b"89", True]
    assert body.read(4) == b""


def test_a_body_without_a_length_ends_with_the_input() -> None:
    body = RequestBody(Dripping(b"0123456789"), None, 100)
    assert body.read(10) == b"0123456789"
    assert not body.ended
    assert (body.read(10), body.ended) == (b"", True)


def test_no_body_is_not_read() -> None:
    body = RequestBody(None, 0, 100)
    assert (body.ended, body.read(10)) == (True, b"")


def test_a_body_that_ends_too_early_is_a_bad_request() -> None:
    with pytest.raises(Failed) as caught:
        RequestBody(Dripping(b"0123"), 10, 100).read(10)
    assert caught.value.status == 400


def test_a_body_beyond_the_limit_is_too_large() -> None:
    with pytest.raises(Failed) as caught:
        RequestBody(Dripping(b"0123456789"), None, 5).read(10)
    assert caught.value.status == 413


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SpoolFile]:
    made = SpoolFile(str(tmp_path), 20 * BLOCK, 1 << 30)
    yield made
    assert (made.used, made.memory) == (0, 0)
    made.close()


@pytest.mark.parametrize("size", [1, 262_144, 3_000_000])
def test_a_whole_body_is_taken_in_and_given_out(file: SpoolFile, size: int) -> None:
    content = os.urandom(size)
    body = SpooledBody(RequestBody(io.BytesIO(content), size, size), file, Options())
    assert (body.length, body.ended) == (size, False)
    parts = []
    while not body.ended:
        parts.append(body.read(100_000))
    assert b"".join(parts) == content
    assert {len(part) for part in parts[:-1]} <= {100_000}


@pytest.mark.parametrize(("length", "limit", "status"), [(10_000_000, 10_000_000, 400), (None, 2_000_000, 413)])
def test_a_body_that_does_not_come_whole_is_dropped(
    file: SpoolFile, length: int | None, limit: int, status: int
) -> None:
    with pytest.raises(Failed) as caught:
        SpooledBody(RequestBody(io.BytesIO(bytes(3_000_000)), length, limit), file, Options())
    assert caught.value.status == status


def test_a_body_for_which_there_is_no_room_is_a_503(file: SpoolFile) -> None:
    with pytest.raises(Failed) as caught:
        SpooledBody(RequestBody(io.BytesIO(bytes(9_000_000)), 9_000_000, 9_000_000), file, Options())
    assert caught.value.status == 503
