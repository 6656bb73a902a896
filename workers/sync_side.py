"""The threads in which the sync code around a coroutine runs: hooks, and the wishes of signals."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class SyncSide:
    """Run the sync code around ``async def`` consumers in threads, so that it holds up no event loop.

    An application framework derives its own if it has rules about the choice of the thread.
    """

    def enter(self) -> None:
        """Called before a consumer, on the event loop and in the consumer's own context. Must be quick."""

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in a thread, in a copy of the consumer's context, and return its result."""
        return await asyncio.to_thread(function)

    def hung(self, seconds: float) -> list[threading.Thread]:
        """The threads that have been in one call for so long, if that is known."""
        return []

    def leave(self) -> None:
        """Called as `enter` is when a consumer, and all that was run for it, has ended. Must be quick."""

    def close(self) -> None:
        """Release everything at the end of the worker. Called in the thread that runs it."""
