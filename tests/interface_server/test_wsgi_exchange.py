"""Reading the body of a request from a WSGI server."""

from __future__ import annotations

import io

import pytest

from interface_server.wsgi_exchange import Failed, RequestBody


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
