"""Where the sync code around a coroutine runs: hooks, and what an exception asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class SyncSide:
    """Runs sync code that belongs to ``async def`` consumers in threads, so that it holds up no event loop.

    An application framework derives its own if it has rules about which thread that is.
    """

    def enter(self) -> None:
        """A consumer is about to begin; called on the event loop, in the consumer's own context. Must be quick."""

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in a thread, in a copy of the consumer's context, and return what it returns."""
        return await asyncio.to_thread(function)

    def leave(self) -> None:
        """A consumer has ended, and all that was run for it; called as `enter` is. Must be quick."""

    def close(self) -> None:
        """The worker ends; release what is held. Called in the thread that runs the worker."""
