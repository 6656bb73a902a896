"""Layout of an HTTP/1.1 response on the wire (RFC 9112, section 6)."""

from __future__ import annotations

import http
import time
from email.utils import formatdate

from .responses import Field, Head

_STATUS_LINES = {int(status): b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in http.HTTPStatus}
_date: tuple[int, bytes] = (0, b"")


class Framing:
    """The layout of one response.

    Args:
        head: status and headers.
        content: the body, or its first part.
        more: whether further parts follow.
        head_only: whether the request was HEAD.
        old: whether the client speaks HTTP/1.0 and knows no chunks.

    Attributes:
        bodiless: no content goes out.
        until_close: the end of the body is the end of the connection.
        left: bytes still owed of a content length; ``None`` if there is none.
    """

    __slots__ = ("_chunked", "bodiless", "field", "left", "until_close")

    def __init__(self, head: Head, content: bytes, more: bool, head_only: bool, old: bool) -> None:
        self.bodiless = head_only or head.status in (204, 304)
        self.until_close = self._chunked = False
        self.left: int | None = None
        length = head.length
        if length is None and not more and (content or not self.bodiless):
            length = len(content)
        if head.status == 204:
            self.field = b""
        elif length is not None:
            self.field = b"content-length: %d\r\n" % length
            self.left = length
        elif self.bodiless:
            self.field = b""
        elif old:
            self.field = b""
            self.until_close = True
        else:
            self.field = b"transfer-encoding: chunked\r\n"
            self._chunked = True

    def part(self, content: bytes, more: bool) -> bytes | None:
        """Wire bytes of a part of the body; ``None`` if it does not fit the content length."""
        if self.bodiless:
            return b""
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(content), content) if content else b""
            return chunk if more else chunk + b"0\r\n\r\n"
        if self.left is not None:
            self.left -= len(content)
            if self.left < 0 or (self.left and not more):
                return None
        return content


def head_bytes(head: Head, framing: Framing, close: bool) -> list[bytes]:
    """Pieces of the status line and all fields."""
    pieces = [_STATUS_LINES.get(head.status) or b"HTTP/1.1 %d \r\n" % head.status]
    pieces += [field.line for field in head.fields]
    if not head.has_date:
        pieces.append(date_field())
    pieces.append(framing.field)
    pieces.append(b"connection: close\r\n\r\n" if close else b"\r\n")
    return pieces


def date_field() -> bytes:
    """The Date field of this second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, b"date: %b\r\n" % formatdate(now, usegmt=True).encode())
    return _date[1]


def refusal(status: int, retry_after: int) -> bytes:
    """A whole response to a client that is turned away; with 503 it says when to come back."""
    return short_response(status, *([(b"retry-after", b"%d" % retry_after)] if status == 503 else []))


def short_response(status: int, *fields: tuple[bytes, bytes]) -> bytes:
    """A whole response that says its status, with further fields, and closes the connection."""
    text = http.HTTPStatus(status).phrase.encode() + b"\n"
    head = Head({"status": status, "headers": [(b"content-type", b"text/plain; charset=utf-8")]})
    head.fields += [Field.of(*field) for field in fields]  # the server's own, so they may be about the connection
    return b"".join([*head_bytes(head, Framing(head, text, False, False, False), close=True), text])
