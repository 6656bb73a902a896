"""The start and the end of an ASGI application, in the event loop that serves it (ASGI, "Lifespan Protocol")."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from .stacks import log_with_stack
from .sync_side import SyncSide

logger = logging.getLogger(__name__)

SLOW_SECONDS = 10.0
"""The time after which the log says that an application has not answered yet."""

STARTUP, SHUTDOWN = "lifespan.startup", "lifespan.shutdown"
COMPLETE, FAILED = ".complete", ".failed"

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


class StartupFailed(Exception):
    """The application has said that it cannot start; the text is one sentence."""


class Lifespan:
    """Tells an application that its event loop begins to serve it, and that it has served it.

    Applications that take no part in this are let alone: those that raise or return before they have answered, and
    those that ask for another event instead of answering. Belongs to one event loop.

    Args:
        application: an ASGI 3 application.

    Attributes:
        state: what the application leaves there for its connections. The scope of each gets a shallow copy.
    """

    def __init__(self, application: Callable[[dict[str, Any], Receive, Send], Awaitable[object]]) -> None:
        self.state: dict[str, Any] = {}
        self._application = application
        self._task: asyncio.Task[None] | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.state.clear()
        self._context = contextvars.Context()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._asked = 0
        self._answers: dict[str, Event] = {}
        self._has_news = asyncio.Event()

    async def start(self, sync_side: SyncSide | None = None) -> None:
        """Tell the application to start, and wait until it has, or has shown that it takes no part.

        Args:
            sync_side: runs its sync code meanwhile.

        Raises:
            StartupFailed: it has said that it cannot.
            RuntimeError: it has started already, in another event loop of this process.
        """
        if self._task is not None and not self._task.done():
            raise RuntimeError("the application has started already, for another worker of this process")
        self._begin_anew()
        loop = asyncio.get_running_loop()
        if sync_side is not None:
            self._context.run(sync_side.enter)
        self._task = loop.create_task(self._run(), name="lifespan", context=self._context)
        self._events.put_nowait({"type": STARTUP})
        slow = loop.call_later(SLOW_SECONDS, self._report_slow)
        try:
            await self._answer_to(STARTUP)
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        finally:
            slow.cancel()
            if sync_side is not None:
                self._context.run(sync_side.leave)
        if STARTUP + COMPLETE not in self._answers:
            self._task.cancel()
        failure = self._answers.get(STARTUP + FAILED)
        if failure is not None:
            reason = str(failure.get("message") or "").strip() or "it has given no reason"
            *before, last = reason.splitlines()
            if before:  # a traceback, as Starlette gives it
                log_with_stack(logger, logging.ERROR, reason, "the application has refused to start:")
            raise StartupFailed(f"the application has refused to start (lifespan.startup.failed): {last.strip()}")

    async def stop(self) -> bool:
        """Tell the application to end, if it has started, and wait until it has; cancelled, it ends the application.

        Returns:
            False if the application has said that something went wrong, or has raised.
        """
        if self._task is None or self._task.done() or STARTUP + COMPLETE not in self._answers:
            return True
        self._events.put_nowait({"type": SHUTDOWN})
        try:
            await self._answer_to(SHUTDOWN)
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        failure = self._answers.get(SHUTDOWN + FAILED)
        if failure is not None:
            logger.error("the application has ended with lifespan.shutdown.failed: %s", failure.get("message") or "-")
        return SHUTDOWN + COMPLETE in self._answers

    async def _answer_to(self, event: str) -> None:
        """Wait until the application has answered an event, or will not."""
        assert self._task is not None
        self._task.add_done_callback(lambda task: self._has_news.set())
        while not self._task.done() and self._answers.keys().isdisjoint((event + COMPLETE, event + FAILED)):
            if event == STARTUP and self._asked > 1:
                logger.info("the application takes no part in lifespan events: it has not answered lifespan.startup")
                return
            self._has_news.clear()
            await self._has_news.wait()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._application(scope, self._receive, self._send)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # SystemExit and the like end the application, not the loop
            if STARTUP + COMPLETE in self._answers:
                if SHUTDOWN + FAILED not in self._answers:
                    logger.exception("error in the application's lifespan")
            elif not self._answers:
                logger.info("the application takes no part in lifespan events: %r", error)

    async def _receive(self) -> Event:
        self._asked += 1
        self._has_news.set()
        return await self._events.get()

    async def _send(self, event: Event) -> None:
        kind = event.get("type", "")
        phase, dot, outcome = str(kind).rpartition(".")
        if phase not in (STARTUP, SHUTDOWN) or dot + outcome not in (COMPLETE, FAILED):
            raise ValueError(f"an application answers {STARTUP} and {SHUTDOWN} with .complete or .failed, not {kind!r}")
        if any(answer.startswith(phase) for answer in self._answers):
            raise ValueError(f"{kind} comes after an answer to {phase}, of which there is one")
        self._answers[str(kind)] = event
        self._has_news.set()

    def _report_slow(self) -> None:
        logger.warning("the application has not answered lifespan.startup for %g s; still waiting", SLOW_SECONDS)
