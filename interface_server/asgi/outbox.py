"""ASGI events on their way to a server that is not ours, through one writer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Outbox:
    """Events in order, awaited one by one: concurrent ASGI sends would pass by the server's backpressure.

    Attributes:
        size: bytes that wait.
        written: bytes that the server took.
    """

    def __init__(self) -> None:
        self._events: deque[tuple[dict[str, Any], int]] = deque()
        self._wake = asyncio.Event()
        self._ended = False
        self.size = 0
        self.written = 0

    def put(self, event: dict[str, Any], size: int = 0) -> None:
        """Queue an event; nothing after `end`."""
        if not self._ended:
            self._events.append((event, size))
            self.size += size
            self._wake.set()

    def end(self, *, drop: bool = False) -> None:
        """No event will follow; with ``drop`` those that wait are not sent either."""
        self._ended = True
        if drop:
            self._events.clear()
            self.size = 0
        self._wake.set()

    async def drain(self, send: Send, progress: Callable[[], None]) -> None:
        """Send until the end; calls ``progress`` after each event."""
        while True:
            while self._events:
                event, size = self._events.popleft()
                await send(event)
                if size:
                    self.size = max(0, self.size - size)
                    self.written += size
                progress()
            if self._ended:
                return
            self._wake.clear()
            await self._wake.wait()


class Gate:
    """A reader's permission to go on."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self.passed = self._open.wait
        self.close = self._open.clear
        self.open = self._open.set
