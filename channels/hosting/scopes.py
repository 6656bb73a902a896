"""Scopes of ASGI 3 made from the messages of an interface server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Scope = dict[str, Any]


def websocket_scope(opening: Mapping[str, Any]) -> Scope:
    """The scope of a WebSocket, from its ``websocket.connect`` message (ASGI, "WebSocket Connection Scope")."""
    headers = [(bytes(name), bytes(value)) for name, value in opening["headers"]]
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": opening.get("scheme", "ws"),
        "path": opening["path"],
        "raw_path": None,
        "query_string": opening.get("query_string", b""),
        "root_path": opening.get("root_path", ""),
        "headers": headers,
        "client": _address(opening.get("client")),
        "server": _address(opening.get("server")),
        "subprotocols": [
            name.strip().decode("latin-1")
            for field, value in headers
            if field == b"sec-websocket-protocol"
            for name in value.split(b",")
        ],
        "state": {},
        "extensions": {},
    }


def _address(pair: Any) -> list[Any] | None:
    return None if pair is None else list(pair)
