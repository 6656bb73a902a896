"""A bare ASGI application: what a WebSocket costs the server itself, without any framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Event = dict[str, Any]


async def application(
    scope: Event, receive: Callable[[], Awaitable[Event]], send: Callable[[Event], Awaitable[None]]
) -> None:
    """Accept a WebSocket and hold it; say hello to a request."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"14")]})
        await send({"type": "http.response.body", "body": b"Hello, world.\n"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
    else:
        raise ValueError(f"nothing of type {scope['type']!r} is served here")
