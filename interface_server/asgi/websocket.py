"""A WebSocket connection on any ASGI 3 server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..bridge.context import Context
from ..bridge.messages import Scope
from ..bridge.replies import Denial, Payload
from ..websocket.connection import WebSocketConnection
from ..wire.websocket_frames import ABNORMAL
from .outbox import Gate, Outbox, Receive, Send


class AsgiSocket:
    """The `Socket` that speaks ASGI. Pings and limits of single frames are the server's business.

    Args:
        context: for its clock and its options.
        can_answer: whether the server lets a handshake be answered with any status.
    """

    def __init__(self, context: Context, can_answer: bool) -> None:
        self.outbox = Outbox()
        self.reading = Gate()
        self.connection: WebSocketConnection | None = None
        self._context = context
        self._can_answer = can_answer
        self._taken = 0
        self._progress = context.now
        self._closing_at = 0.0
        self.direct: asyncio.WriteTransport | None = None

    @property
    def outbox_bytes(self) -> int:
        """See `Socket.outbox_bytes`."""
        return self.outbox.size

    def queued(self, frame: bytes, waiting: int) -> bool:
        """See `Socket.queued`: nothing is written past `send`."""
        return True

    def accept(self, subprotocol: str | None, fields: Sequence[tuple[bytes, bytes]]) -> None:
        """See `Socket.accept`."""
        headers = [(name.lower(), value) for name, value in fields]
        self.outbox.put({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})

    def reject(self, status: int, denial: Denial | None = None) -> None:
        """See `Socket.reject`. Where the server answers with nothing but 403, that is it."""
        if self._can_answer and denial is not None:
            length = (b"content-length", b"%d" % len(denial.content))
            headers = [*((field.lowered, field.value) for field in denial.head.fields), length]
            self._answer(status, headers, denial.content)
        elif self._can_answer and status != 403:
            self._answer(status, [(b"retry-after", b"%d" % self._context.options.retry_after)] if status == 503 else [])
        else:
            self.outbox.put({"type": "websocket.close", "code": 1000})
        self.outbox.end()

    def _answer(self, status: int, headers: list[tuple[bytes, bytes]], content: bytes = b"") -> None:
        self.outbox.put({"type": "websocket.http.response.start", "status": status, "headers": headers})
        self.outbox.put({"type": "websocket.http.response.body", "body": content, "more_body": False})

    def send(self, payload: Payload) -> bool:
        """See `Socket.send`."""
        key = "text" if payload.is_text else "bytes"
        self.outbox.put({"type": "websocket.send", key: payload.data}, len(payload.data) + 16)
        return self.outbox.size <= self._context.options.outbox_bytes

    def close(self, code: int, reason: str = "") -> None:
        """See `Socket.close`."""
        self.outbox.put({"type": "websocket.close", "code": code, "reason": reason})
        self.outbox.end()
        self.reading.open()
        self._closing_at = self._context.now + self._context.options.close_timeout

    def pause(self) -> None:
        """See `Socket.pause`."""
        self.reading.close()

    def resume(self) -> None:
        """See `Socket.resume`."""
        self.reading.open()

    def tick(self, now: float) -> None:
        """Notice a client that takes nothing, and one that does not let itself be closed."""
        if self._closing_at and now >= self._closing_at:
            self.outbox.end(drop=True)
        if not self.outbox.size or self.outbox.written != self._taken:
            self._taken, self._progress = self.outbox.written, now
        elif now - self._progress >= self._context.options.outbox_timeout and self.connection is not None:
            self.connection.overflow()


async def serve_websocket(context: Context, scope: Scope, receive: Receive, send: Send) -> None:
    """Carry one WebSocket from its handshake to its end."""
    await receive()
    socket = AsgiSocket(context, "websocket.http.response" in (scope.get("extensions") or {}))
    connection = socket.connection = WebSocketConnection(context, scope, socket)
    context.tickers.add(socket)
    connection.open()
    reader = asyncio.create_task(_read(connection, socket, receive))
    try:
        await socket.outbox.drain(send, _nothing)
    except OSError:
        connection.lost(ABNORMAL)
    finally:
        connection.lost(ABNORMAL)
        reader.cancel()
        context.tickers.discard(socket)


async def _read(connection: WebSocketConnection, socket: AsgiSocket, receive: Receive) -> None:
    options = socket._context.options
    while True:
        await socket.reading.passed()
        event = await receive()
        if event["type"] == "websocket.disconnect":
            connection.lost(event.get("code") or ABNORMAL, event.get("reason") or "")
            socket.outbox.end(drop=True)
            return
        text, data = event.get("text"), event.get("bytes")
        content = data if text is None else text
        if content is None:
            continue
        if _is_larger(content, options.websocket_max_message):
            connection.close(1009, "message too big")
        else:
            connection.received(content)


def _is_larger(content: str | bytes, limit: int) -> bool:
    if isinstance(content, bytes) or len(content) > limit or len(content) * 4 <= limit:
        return len(content) > limit
    return len(content.encode("utf-8", "replace")) > limit


def _nothing() -> None:
    pass
