"""Scopes of ASGI 3 made from the messages of an interface server."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

from channel_layer.delivery import Message

from ..scope.applications import Scope

DENIAL_EXTENSION = "websocket.http.response"
"""Says that an application may deny a handshake with a response of its own ("WebSocket Denial Response")."""

OWN_HEADERS = {name: name for name in (b"cookie", b"authorization", b"sec-websocket-key")}
"""Headers that each client has for itself; only their names are shared."""

MOST_SHARED = 256
"""Bytes of a header that connections share."""


def websocket_scope(opening: Message, state: Scope) -> Scope:
    """The scope of a WebSocket, from its ``websocket.connect`` message (ASGI, "WebSocket Connection Scope").

    Args:
        opening: the message.
        state: what the application has left there when it started; see `workers.lifespan.Lifespan`.
    """
    common = _common(opening, state)
    common["headers"] = [_header(name, value) for name, value in common["headers"]]
    common["path"] = sys.intern(common["path"])
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": sys.intern(opening.get("scheme", "ws")),
        **common,
        "subprotocols": [
            name.strip().decode("latin-1")
            for field, value in common["headers"]
            if field == b"sec-websocket-protocol"
            for name in value.split(b",")
        ],
        "extensions": {DENIAL_EXTENSION: {}},
    }


def http_scope(request: Message, state: Scope) -> Scope:
    """The scope of a request, from its ``http.request`` message (ASGI, "HTTP Connection Scope"); see the other."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.get("http_version", "1.1"),
        "method": request["method"],
        "scheme": request.get("scheme", "http"),
        **_common(request, state),
    }


def _common(message: Message, state: Scope) -> Scope:
    return {
        "path": message["path"],
        "raw_path": None,
        "query_string": message.get("query_string", b""),
        "root_path": message.get("root_path", ""),
        "headers": [(bytes(name), bytes(value)) for name, value in message["headers"]],
        "client": _address(message.get("client")),
        "server": _address(message.get("server")),
        "state": state.copy(),
        "extensions": {},
    }


def _header(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """A header of a scope that is kept for long. Most connections have the same ones, so they share them."""
    if (own := OWN_HEADERS.get(name)) is not None:
        return own, value
    return (name, value) if len(value) > MOST_SHARED else _shared(name, value)


@lru_cache(maxsize=1_024)
def _shared(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    return name, value


def _address(pair: Any) -> list[Any] | None:
    if pair is None:
        return None
    address = list(pair)
    address[0] = sys.intern(address[0])
    return address
