"""Request lines with methods that the HTTP parser does not know. RFC 9110 leaves the set of methods open."""

from __future__ import annotations

import re
from typing import Final

from .http_target import Refusal

KEPT_METHODS: Final = frozenset({b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE"})
"""Methods that stay in a replaced line. POST, which has no rules of its own in the parser, stands for others."""

FOREIGN_METHODS: Final = frozenset(
    {
        *("ANNOUNCE", "DESCRIBE", "FLUSH", "GET_PARAMETER", "PAUSE", "PLAY", "RECORD", "REDIRECT", "SETUP"),
        *("SET_PARAMETER", "SOURCE", "TEARDOWN"),
    }
)
"""Methods that the parser itself takes only from RTSP and ICE."""

_LINE_SO_FAR = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?: [^\x00-\x20\x7f]*(?: [HTP/0-9.]*)?)?").fullmatch
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP/([0-9])\.([0-9])").fullmatch


def is_request_line(line: bytes, complete: bool) -> bool:
    """Say if bytes are a request line, or may become one (RFC 9112, section 3)."""
    return (_REQUEST_LINE if complete else _LINE_SO_FAR)(line.removesuffix(b"\r")) is not None


def replace_request_line(line: bytes) -> tuple[bytes, str]:
    """Put a request line that a parser of fixed methods and versions refuses into words that it knows.

    Methods are an open set (RFC 9110, section 9.1), and a later minor version is read as the highest one that is
    known (section 2.5).

    Args:
        line: without its CRLF.

    Returns:
        The line to parse, and the method that the client said.

    Raises:
        Refusal: 400 for what is not a request line, 505 for another major version.
    """
    match = _REQUEST_LINE(line)
    if match is None:
        raise Refusal(400, "no request line")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise Refusal(505, "this is a server for HTTP/1.1")
    version = b"1.0" if minor == b"0" else b"1.1"
    return b"%b %b HTTP/%b" % (method if method in KEPT_METHODS else b"POST", target, version), method.decode("ascii")
