"""`AsgiRequest`: an ``http.request`` message as Django's request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any

from django.conf import settings
from django.http import QueryDict, parse_cookie
from django.utils.functional import cached_property

from channel_layer import delivery
from channel_layer.channel import Message

from .. import exceptions
from ..runtime.django_internals import UnparsedRequest
from .body import LazyBody

_SPECIAL = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}


class AsgiRequest(UnparsedRequest):
    """Django's request made from a message.

    Making one does no I/O. A body that comes in parts is fetched when it is first read; that
    raises `RequestTimeout` or `RequestAborted` if the rest does not arrive.

    Attributes:
        message: the message.
        reply_channel: the channel on which the response goes out.
    """

    ResponseLater = exceptions.ResponseLater
    RequestTimeout = exceptions.RequestTimeout
    RequestAborted = exceptions.RequestAborted

    body_receive_timeout = 60
    """Seconds to wait for each next part of a body."""

    def __init__(self, message: Message) -> None:
        super().__init__()
        self.message = message
        self.reply_channel = message.reply_channel
        content = message.content
        self.script_name, self.path, self.path_info = _paths(content)
        self.method = (content.get("method") or "GET").upper()
        self.META = self._meta(content)
        self.parse_content_type()
        self.body_stream = self._open_body(content)

    @cached_property
    def GET(self) -> QueryDict:  # type: ignore[override]
        """Parameters of the query string."""
        return QueryDict(self.META["QUERY_STRING"], encoding=self.encoding)

    @cached_property
    def COOKIES(self) -> dict[str, str]:  # type: ignore[override]
        """Cookies by name."""
        return parse_cookie(self.META.get("HTTP_COOKIE", ""))

    @property
    def body(self) -> bytes:
        """The whole body; see `HttpRequest.body`.

        Raises:
            RequestTimeout, RequestAborted: the rest of it does not arrive.
        """
        self._settle_length()
        return super().body

    def close(self) -> None:
        """Close uploaded files and the body."""
        super().close()
        self.body_stream.close()

    def original_scheme(self) -> str:
        """See `UnparsedRequest.original_scheme`."""
        return self.message.content.get("scheme") or "http"

    @property
    def body_failure(self) -> Exception | None:
        """The error with which reading a body in parts has failed, if it has."""
        stream = self.body_stream
        return stream.failure if isinstance(stream, LazyBody) else None

    def prepare_to_parse(self) -> bool:
        """See `UnparsedRequest.prepare_to_parse`."""
        # The first reader gets the failure as an exception. Later ones report that error, and must not meet it again.
        if self.body_failure is not None:
            return False
        self._settle_length()
        return True

    def _settle_length(self) -> None:
        """Give a body that came without a length one: Django checks it and parses no forms without."""
        stream = self.body_stream
        if "CONTENT_LENGTH" not in self.META and isinstance(stream, LazyBody) and not stream.closed:
            self.META["CONTENT_LENGTH"] = str(stream.size())

    def _open_body(self, content: delivery.Message) -> BytesIO | LazyBody:
        first = content.get("body") or b""
        channel = content.get("body_channel")
        if channel is None:
            if first and "CONTENT_LENGTH" not in self.META:
                self.META["CONTENT_LENGTH"] = str(len(first))
            return BytesIO(first)
        length = self.META.get("CONTENT_LENGTH", "")
        return LazyBody(
            first,
            self.message.channel_layer,
            channel,
            self.body_receive_timeout,
            settings.FILE_UPLOAD_MAX_MEMORY_SIZE,
            length=int(length) if length.isdecimal() else None,
            reports=self.reply_channel.name if self.reply_channel is not None else None,
        )

    def _meta(self, content: delivery.Message) -> dict[str, object]:
        query = content.get("query_string") or b""
        client, server = content.get("client"), content.get("server")
        meta: dict[str, object] = {
            "REQUEST_METHOD": self.method,
            "QUERY_STRING": query.decode("utf-8", "replace") if isinstance(query, bytes) else query,
            "SCRIPT_NAME": self.script_name,
            "PATH_INFO": self.path_info,
            "SERVER_PROTOCOL": f"HTTP/{content.get('http_version') or '1.1'}",
            # Libraries written for WSGI look for these.
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
        }
        if client:
            meta["REMOTE_ADDR"] = meta["REMOTE_HOST"] = client[0]
            meta["REMOTE_PORT"] = client[1]
        if server and server[1]:
            meta["SERVER_NAME"], meta["SERVER_PORT"] = server[0], str(server[1])
        else:  # a Unix socket has no port
            meta["SERVER_NAME"] = "unknown"
            meta["SERVER_PORT"] = "443" if content.get("scheme") == "https" else "80"
        for name, value in header_pairs(content):
            key = _meta_key(name)
            if key is None:
                continue
            text = value.decode("latin-1")
            if key in meta:
                # HTTP/2 splits the Cookie field, whose parts are joined with its own separator (RFC 9113, 8.2.3).
                text = f"{meta[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
            meta[key] = text
        return meta


def header_pairs(content: Message | delivery.Message) -> Iterable[tuple[bytes, bytes]]:
    """Return the headers of a message as pairs of bytes; in messages made by hand they may be a dict, also of text."""
    headers = content.get("headers") or ()
    if not isinstance(headers, Mapping):
        return headers
    return [(_as_bytes(name), _as_bytes(value)) for name, value in headers.items()]


def _as_bytes(part: Any) -> bytes:
    return part.encode("latin-1") if isinstance(part, str) else part


@lru_cache(maxsize=512)
def _meta_key(name: bytes) -> str | None:
    """Map a header's name to its key in META; ``None`` for one with an underscore, which could pass for another."""
    lowered = name.lower()
    if b"_" in lowered:
        return None
    return _SPECIAL.get(lowered) or "HTTP_" + lowered.decode("latin-1").upper().replace("-", "_")


def _paths(content: delivery.Message) -> tuple[str, str, str]:
    """Work out script name, path and path info; a proxy may have cut off the mount point, or left it."""
    path = content.get("path") or "/"
    script = (settings.FORCE_SCRIPT_NAME or content.get("root_path") or "").rstrip("/")
    if not script:
        return "", path, path
    if path == script or path.startswith(script + "/"):
        return script, path, path[len(script) :] or "/"
    return script, script + path, path
