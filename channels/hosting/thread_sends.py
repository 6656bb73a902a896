"""Sends of sync consumers: from the thread of a handler to the event loop, without a way there and back for each."""

from __future__ import annotations

import asyncio
import contextvars
import time
import weakref

from asgiref.sync import async_to_sync

from ..scope.applications import Event, Send

QUICK_SECONDS = 0.005
"""The time for which what a handler has sent may wait for its end. It is looked at as often."""

MOST_WAITING = 64
"""Frames that wait for the event loop before the thread does."""


class ThreadSends:
    """Called in the thread of a handler with events to send; passes them on in that order, on the event loop.

    Frames go along with the end of the handler, or some `QUICK_SECONDS` after the first. For all other events, and
    behind many frames, the thread waits, so that it learns of their errors. Belongs to the loop in which it is made.

    Args:
        send: sends an event.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._handlers = _handlers_of(self._loop)
        self._waiting: list[Event] = []  # few, and a quiet deque takes 600 bytes
        self._since = 0.0
        self._lock = asyncio.Lock()
        self._is_quick = False
        self._early: asyncio.Task[None] | None = None

    def __call__(self, event: Event) -> None:
        """Send an event."""
        if event.get("type") != "websocket.send" or len(self._waiting) >= MOST_WAITING:
            # In a copy of the context: asgiref would leave something in this one, which takes a kilobyte of a quiet
            # instance, and is copied for each call.
            contextvars.copy_context().run(async_to_sync(self._send_behind), event)
            return
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(event)
        if not self._is_quick:  # looked at last: until it is false, the loop has yet to look for events
            self._loop.call_soon_threadsafe(self._pass_on_early)

    def begin(self) -> None:
        """A handler is about to run."""
        self._is_quick = True
        self._handlers.watch(self)

    async def end(self) -> None:
        """The handler has ended; pass on what waits. Raises the error of a frame that was sent meanwhile."""
        self._is_quick = False
        self._handlers.forget(self)
        early, self._early = self._early, None
        if early is not None:
            await early
        if self._waiting:
            await self._pass_on()

    def look(self, now: float) -> None:
        """Pass on what has waited for long, and what follows it at once; called while the handler runs."""
        if self._waiting and now - self._since >= QUICK_SECONDS:
            self._pass_on_early()

    def _pass_on_early(self) -> None:
        self._is_quick = False
        early = self._early
        if early is not None and early.done() and (early.cancelled() or early.exception() is not None):
            return  # it is for `end` to raise that
        if self._waiting and (early is None or early.done()):
            self._early = self._loop.create_task(self._pass_on())

    async def _pass_on(self) -> None:
        async with self._lock:
            while self._waiting:
                await self._send(self._waiting.pop(0))

    async def _send_behind(self, event: Event) -> None:
        await self._pass_on()
        await self._send(event)


class _Handlers:
    """The handlers that run in threads for one event loop: one timer looks after all of them, and none has its own."""

    def __init__(self) -> None:
        self._running: dict[ThreadSends, None] = {}
        self._is_timed = False

    def watch(self, sends: ThreadSends) -> None:
        """A handler begins."""
        self._running[sends] = None
        self._start_timer()

    def forget(self, sends: ThreadSends) -> None:
        """It has ended."""
        self._running.pop(sends, None)

    def _start_timer(self) -> None:
        if not self._is_timed:
            self._is_timed = True
            asyncio.get_running_loop().call_later(QUICK_SECONDS, self._look)

    def _look(self) -> None:
        self._is_timed = False
        if self._running:
            now = time.monotonic()
            for sends in list(self._running):
                sends.look(now)
            self._start_timer()


_all_handlers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Handlers] = weakref.WeakKeyDictionary()


def _handlers_of(loop: asyncio.AbstractEventLoop) -> _Handlers:
    handlers = _all_handlers.get(loop)
    if handlers is None:
        handlers = _all_handlers[loop] = _Handlers()
    return handlers
