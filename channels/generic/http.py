"""A consumer of HTTP requests as in Channels 2 to 4: one instance for each request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from channels.consumer import AsyncConsumer
from channels.db import aclose_old_connections
from channels.exceptions import StopConsumer
from channels.scope.applications import Event

__all__ = ["AsyncHttpConsumer"]

Headers = Iterable[tuple[bytes, bytes]] | Mapping[bytes, bytes]


class AsyncHttpConsumer(AsyncConsumer):
    """Answers a request with coroutines, in one part or in many.

    Attributes:
        body: the parts of the request's body that have come.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.body: list[bytes] = []

    async def send_headers(self, *, status: int = 200, headers: Headers | None = None) -> None:
        """Begin the response. It goes out with the first part of its body.

        Args:
            status: of the response.
            headers: pairs of bytes, or a dict of bytes.
        """
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers or ())
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})

    async def send_body(self, body: bytes, *, more_body: bool = False) -> None:
        """Send a part of the body.

        Args:
            body: the part.
            more_body: there will be another one; without this the response is complete.

        Raises:
            TypeError: the body is not bytes.
        """
        if not isinstance(body, bytes):
            raise TypeError(f"Body is not bytes: it is {type(body).__name__}; encode it")
        await self.send({"type": "http.response.body", "body": body, "more_body": more_body})

    async def send_response(self, status: int, body: bytes, **kwargs: Any) -> None:
        """Send a response of one part; see `send_headers` for the rest of the arguments."""
        await self.send_headers(status=status, **kwargs)
        await self.send_body(body)

    async def handle(self, body: bytes) -> None:
        """Answer the request. To be overridden.

        Args:
            body: all of the request's body.
        """
        raise NotImplementedError(f"{type(self).__name__} must provide a handle() method")

    async def disconnect(self) -> None:
        """Clean up. To be overridden; nothing can be sent any more."""

    async def http_request(self, message: Event) -> None:
        """Gather the body, and call `handle` when it is complete."""
        if "body" in message:
            self.body.append(message["body"])
        if not message.get("more_body"):
            try:
                await self.handle(b"".join(self.body))
            finally:
                await self.disconnect()
            raise StopConsumer

    async def http_disconnect(self, message: Event) -> None:
        """Call `disconnect` and end: the client has left."""
        await self.disconnect()
        await aclose_old_connections()
        raise StopConsumer
