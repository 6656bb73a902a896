"""Spans of requests, WebSocket frames and deliveries; see `channel_layer.tracing`."""

from __future__ import annotations

from collections.abc import Mapping

from channel_layer import tracing
from channel_layer.delivery import Delivery, Headers

from .messages import Scope


def of_request(scope: Scope) -> tracing.Turn:
    """Span of a request, below that of its client if it has a ``traceparent``."""
    return tracing.begin(
        scope["method"], "server", {"http.request.method": scope["method"], **_of_scope(scope)}, incoming=_fields(scope)
    )


def of_handshake(scope: Scope) -> tracing.Turn:
    """Span of the handshake of a WebSocket, likewise."""
    return tracing.begin("websocket.connect", "server", _of_scope(scope), incoming=_fields(scope))


def of_frame(path: str) -> tracing.Turn:
    """Span of a frame, until consumers are done with it."""
    return tracing.begin("websocket.receive", "server", {"url.path": path})


def note_delivery(delivery: Delivery) -> None:
    """Make the span of a message for clients, from its sending until it was handed to them."""
    headers = delivery.headers
    if headers is None or "trace" not in headers:
        return
    attributes: dict[str, str | int] = {"messaging.system": "millrace", "messaging.operation.type": "deliver"}
    if delivery.members is not None:
        attributes["messaging.millrace.members"] = len(delivery.members)
    name = "deliver" if delivery.members is None else "deliver to group"
    tracing.begin(name, "internal", attributes, carrier=headers, since=headers.get("traced_at")).end()


def passed_on(headers: Headers | None) -> Headers | None:
    """Headers for what a message is passed on as."""
    if headers is None or "trace" not in headers:
        return None
    return {"trace": headers["trace"], "traced_at": headers["traced_at"]}


def _of_scope(scope: Scope) -> dict[str, str]:
    client = scope.get("client")
    found = {"url.path": scope["path"], "url.scheme": scope["scheme"]}
    return found | ({"client.address": client[0]} if client else {})


def _fields(scope: Scope) -> Mapping[str, str]:
    """Header fields of a request that say what trace it belongs to."""
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in scope["headers"]
        if name in (b"traceparent", b"tracestate")
    }
