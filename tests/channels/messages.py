"""Messages as an interface server makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from channel_layer.channel import Message
from channel_layer.codec import frame, pack_body, unpack_frame
from channel_layer.delivery import Delivery

REPLY = "daphne.test!connection"


def request(layer: Any, path: str = "/", method: str = "GET", **content: Any) -> Message:
    """An ``http.request``; ``headers`` is a dict here, ``flow`` goes beside the message."""
    headers = {"host": "testserver", **content.pop("headers", {})}
    flow = content.pop("flow", None)
    query, _, _ = content.pop("query", "").partition("#")
    message = {
        "reply_channel": REPLY,
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "query_string": query.encode(),
        "root_path": "",
        "headers": [[name.encode(), value.encode("latin-1")] for name, value in headers.items()],
        "body": b"",
        "client": ["10.1.2.3", 4567],
        "server": ["127.0.0.1", 8000],
        **content,
    }
    return Message(travelled(message), "http.request", layer, {"flow": flow} if flow else None)


def websocket(
    layer: Any, kind: str = "connect", turn: int | None = 0, state: Mapping[str, bytes] | None = None, **content: Any
) -> Message:
    """A ``websocket.*`` message; without a turn it comes from a sender that carries no state."""
    message: dict[str, Any] = {"reply_channel": REPLY, "path": "/chat/", "order": turn or 0}
    if kind == "connect":
        headers = {"host": "testserver", **content.pop("headers", {})}
        message["headers"] = [[name.encode(), value.encode("latin-1")] for name, value in headers.items()]
        message["query_string"] = content.pop("query", "").encode()
        message["root_path"] = ""
    message.update(content)
    beside: dict[str, Any] = {}
    if turn is not None:
        beside["turn"] = turn
        if state is not None:
            beside["state"] = state
    return Message(travelled(message), f"websocket.{kind}", layer, beside)


def state_of(**values: Any) -> dict[str, bytes]:
    """State as a connection keeps it for a session with these values."""
    return {key: json.dumps({key: value}, separators=(",", ":")).encode() for key, value in values.items()}


def travelled(message: dict[str, Any]) -> dict[str, Any]:
    """The message as it comes out of a layer."""
    content: dict[str, Any] = unpack_frame(frame(0, "", pack_body(message)), 10**8)[2]
    return content


def replies(layer: Any) -> list[dict[str, Any]]:
    """What was sent to the connection so far, but for headers that came alone."""
    return [delivery.message for delivery in deliveries(layer) if delivery.message]


def deliveries(layer: Any) -> list[Delivery]:
    """The same with all headers."""
    found: list[Delivery] = []
    while batch := layer.receive_batch(["daphne.test!"], limit=100):
        found += batch
    return found
