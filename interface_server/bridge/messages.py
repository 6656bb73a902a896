"""Messages that an interface server sends (ASGI 1 draft, "HTTP" and "WebSocket" formats).

They are made from an ASGI 3 scope, the one description of a connection that every server gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from channel_layer.messages import ConnectMessage, RequestMessage

from ..options import Options
from .proxies import TrustedProxies

Scope: TypeAlias = dict[str, Any]
"""An ASGI 3 scope: what is in it depends on the server that made it."""


class MessageFactory:
    """Builds the messages that describe a connection.

    Args:
        options: for the root path and the proxies to trust.
    """

    def __init__(self, options: Options) -> None:
        self._root_path = options.root_path
        self._proxies = TrustedProxies(options.trusted_proxies) if options.proxy_headers else None

    def seen(self, scope: Scope) -> Scope:
        """A scope whose client and scheme come from the trusted proxies, if there are any."""
        if self._proxies is None:
            return scope
        headers = scope["headers"]
        client = scope.get("client")
        peer = tuple(client) if client else None
        secure = self._proxies.is_secure(peer, headers)
        scheme: str = scope.get("scheme", "http")
        if secure is not None:
            scheme = ("ws" if scheme.startswith("ws") else "http") + ("s" if secure else "")
        return {**scope, "client": self._proxies.client(peer, headers), "scheme": scheme}

    def request(
        self, scope: Scope, reply_channel: str, body: bytes | bytearray, body_channel: str | None
    ) -> RequestMessage:
        """An ``http.request`` message."""
        message: RequestMessage = {
            "reply_channel": reply_channel,
            "http_version": scope.get("http_version", "1.1"),
            "method": scope["method"],
            "scheme": scope.get("scheme", "http"),
            "path": scope["path"],
            "query_string": scope.get("query_string", b""),
            "root_path": self._root_of(scope),
            "headers": scope["headers"],
            "body": body,
            "client": scope.get("client"),
            "server": scope.get("server"),
        }
        if body_channel is not None:
            message["body_channel"] = body_channel
        return message

    def connect(self, scope: Scope, reply_channel: str) -> ConnectMessage:
        """A ``websocket.connect`` message."""
        return {
            "reply_channel": reply_channel,
            "scheme": scope.get("scheme", "http"),
            "path": scope["path"],
            "query_string": scope.get("query_string", b""),
            "root_path": self._root_of(scope),
            "headers": scope["headers"],
            "client": scope.get("client"),
            "server": scope.get("server"),
            "order": 0,
        }

    def _root_of(self, scope: Scope) -> str:
        root: str = self._root_path or scope.get("root_path", "")
        return root


def client_of(scope: Scope) -> str | None:
    """Address and port of the client of a scope, as one text."""
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else None


def clean_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers as they go into messages: lower case, without names that hold an underscore.

    ``X_Real_Ip`` and ``X-Real-Ip`` are one name in a CGI-like environment, so the former could pass
    for the latter behind a proxy that filters only the usual spelling. ``Daphne-Root-Path`` was once
    obeyed when a client sent it; it never reaches an application here.
    """
    cleaned = []
    for name, value in headers:
        lowered = bytes(name).lower()
        if b"_" not in lowered and lowered != b"daphne-root-path":
            cleaned.append((lowered, bytes(value)))
    return cleaned


def with_length(scope: Scope, length: int) -> Scope:
    """A scope whose headers give the length of its body, which is here, however it came (RFC 9112, section 6.3)."""
    headers = scope["headers"]
    names = {name for name, _ in headers}
    if b"content-length" in names or not (length or b"transfer-encoding" in names):
        return scope
    kept = [pair for pair in headers if pair[0] != b"transfer-encoding"]
    return {**scope, "headers": [*kept, (b"content-length", b"%d" % length)]}
