"""An HTTP exchange on any ASGI 3 server."""

from __future__ import annotations

import asyncio
from typing import Any

from ..bridge.context import Context
from ..bridge.messages import Scope
from ..http.exchange import HttpExchange
from ..wire.responses import Head, ResponseCut
from .outbox import Gate, Outbox, Receive, Send


class AsgiResponse:
    """The `ResponseWriter` that speaks ASGI; the server frames what it is given."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.reading = Gate()
        self.cut = False

    def start(self, head: Head, content: bytes, more: bool) -> None:
        """See `ResponseWriter.start`."""
        headers = [(field.name, field.value) for field in head.fields]
        length = len(content) if head.length is None and not more and content else head.length
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        self.outbox.put({"type": "http.response.start", "status": head.status, "headers": headers})
        self.write(content, more)

    def write(self, content: bytes, more: bool) -> None:
        """See `ResponseWriter.write`."""
        self.outbox.put({"type": "http.response.body", "body": content, "more_body": more}, len(content))
        if not more:
            self.outbox.end()

    def abort(self) -> None:
        """See `ResponseWriter.abort`."""
        self.cut = True
        self.outbox.end(drop=True)

    def buffered(self) -> int:
        """See `ResponseWriter.buffered`."""
        return self.outbox.size

    def pause(self) -> None:
        """See `ResponseWriter.pause`."""
        self.reading.close()

    def resume(self) -> None:
        """See `ResponseWriter.resume`."""
        self.reading.open()

    def expect(self) -> None:
        """The server answers ``Expect`` itself when the body is first read."""


async def serve_http(context: Context, scope: Scope, receive: Receive, send: Send) -> None:
    """Carry one exchange from its first to its last byte.

    Raises:
        ResponseCut: the response could not be completed.
    """
    response = AsgiResponse()
    exchange = HttpExchange(context, scope, response)
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    exchange.begin(int(length) if length.isdigit() else None)
    reader = asyncio.create_task(_read(exchange, response, receive))
    try:
        await response.outbox.drain(send, exchange.drained)
    finally:
        exchange.gone()
        reader.cancel()
    if response.cut:
        raise ResponseCut("the response could not be completed")


async def _read(exchange: HttpExchange, response: AsgiResponse, receive: Receive) -> None:
    complete = False
    while True:
        await response.reading.passed()
        event: dict[str, Any] = await receive()
        if event["type"] == "http.disconnect":
            exchange.gone()
            response.outbox.end(drop=True)
            return
        if not complete:
            body = event.get("body", b"")
            if body:
                exchange.feed(body)
            if not event.get("more_body", False):
                complete = True
                exchange.end()
