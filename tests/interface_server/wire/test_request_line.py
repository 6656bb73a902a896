from __future__ import annotations

import pytest

from interface_server.wire.http_target import Refusal
from interface_server.wire.request_line import is_request_line, replace_request_line


@pytest.mark.parametrize(
    ("line", "substitute", "method"),
    [
        (b"PURGE /a?b HTTP/1.1", b"POST /a?b HTTP/1.1", "PURGE"),
        (b"get / HTTP/1.1", b"POST / HTTP/1.1", "get"),
        (b"GET / HTTP/1.2", b"GET / HTTP/1.1", "GET"),
        (b"X-SPACE! / HTTP/1.9", b"POST / HTTP/1.1", "X-SPACE!"),
        (b"FOO / HTTP/1.0", b"POST / HTTP/1.0", "FOO"),
        (b"HEAD / HTTP/1.1", b"HEAD / HTTP/1.1", "HEAD"),
    ],
)
def test_unknown_words_are_replaced_by_known_ones(line: bytes, substitute: bytes, method: str) -> None:
    assert is_request_line(line, complete=True)
    assert replace_request_line(line) == (substitute, method)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET / HTTP/3.0", 505),
        (b"FOO / HTTP/0.9", 505),
        (b"GET / RTSP/1.0", 400),
        (b"GET /", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"G,T / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"", 400),
    ],
)
def test_what_has_no_meaning_here_is_refused(line: bytes, status: int) -> None:
    with pytest.raises(Refusal) as refused:
        replace_request_line(line)
    assert refused.value.status == status


@pytest.mark.parametrize(
    "line", [b"P", b"PURGE", b"PURGE ", b"PURGE /a", b"PURGE /a ", b"PURGE /a HTT", b"PURGE / HTTP/1.1\r"]
)
def test_a_part_may_become_a_request_line(line: bytes) -> None:
    assert is_request_line(line, complete=False)


@pytest.mark.parametrize("line", [b"", b"\x16\x03\x01", b" GET", b"GET / HTTP/1.1\nHost: x", b"G\tT", b"GET / FTP"])
def test_other_bytes_cannot(line: bytes) -> None:
    assert not is_request_line(line, complete=False)
