"""Waiting on several servers at once, in event loops."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from ..delivery import Delivery
from .pops import More

Popped: TypeAlias = tuple[list[Delivery], More]

RETRY_SECONDS = 0.5
"""Time until a pop is begun again on one of several servers that failed."""


class AsyncPoller:
    """Pops for one set of channels in one event loop, one waiting on each server.

    A pop that was begun goes on until its result is taken, in this receive or a later one, however the receive ended:
    it cannot be taken back without losing a message.

    Attributes:
        failing: servers whose last pop failed.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[int, asyncio.Task[Popped]] = {}
        self._done: deque[int] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._guard: AsyncGenerator[None] | None = None
        self.failing: set[int] = set()

    @property
    def waiting(self) -> set[int]:
        """Servers with a pop whose result was not taken."""
        return set(self._tasks)

    def begin(self, shard: int, pop: Coroutine[Any, Any, Popped], *, rests: bool) -> None:
        """Begin a pop on a server that has none waiting.

        Args:
            rests: whether to wait a little if the last one there failed.
        """
        if rests and shard in self.failing:
            pop = _later(pop)
        # A context of its own: it may outlive whoever begins it.
        task = self._loop.create_task(pop, context=contextvars.Context())
        self._tasks[shard] = task
        task.add_done_callback(lambda _: self._ended(shard))

    async def wait(self, seconds: float) -> int | None:
        """A server to `take` from, after waiting for the first; ``None`` if the time is over."""
        if not self._done and seconds > 0:
            waiter = self._waiter = self._loop.create_future()
            timer = self._loop.call_later(seconds, _wake, waiter)
            try:
                await waiter
            finally:
                self._waiter = None
                timer.cancel()
        return self._done.popleft() if self._done else None

    def take(self, shard: int) -> Popped:
        """The result of a pop; raises what that raised."""
        task = self._tasks.pop(shard)
        if task.exception() is None:
            self.failing.discard(shard)
        else:
            self.failing.add(shard)
        return task.result()

    async def guard(self, end: Callable[[AsyncPoller], Awaitable[None]]) -> None:
        """Have ``end`` awaited when the event loop is ended in order, as `asyncio.run` does."""
        if self._guard is None:
            self._guard = self._until_the_end(end)
            await anext(self._guard)

    async def finish(self) -> list[Popped]:
        """Wait for every pop, and return what came of them; errors have been reported by who raised them."""
        results = await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        self._done.clear()
        return [result for result in results if not isinstance(result, BaseException)]

    async def _until_the_end(self, end: Callable[[AsyncPoller], Awaitable[None]]) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await end(self)

    def _ended(self, shard: int) -> None:
        self._done.append(shard)
        if self._waiter is not None:
            _wake(self._waiter)


class AsyncPollers:
    """The pollers of a layer, by event loop and channels; each is used by one receive at a time."""

    def __init__(self) -> None:
        self._free: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, ...], list[AsyncPoller]]] = (
            WeakKeyDictionary()
        )

    def borrow(self, channels: tuple[str, ...]) -> AsyncPoller:
        """A poller that waits for the channels already, or a new one."""
        free = self._mine().get(channels)
        return free.pop() if free else AsyncPoller()

    def give_back(self, channels: tuple[str, ...], poller: AsyncPoller) -> None:
        """Keep a poller for the next receive on the same channels."""
        self._mine().setdefault(channels, []).append(poller)

    def take(self, channels: tuple[str, ...]) -> list[AsyncPoller]:
        """Pollers of the running loop for these channels, or all, that nobody uses now; no longer kept."""
        free = self._mine()
        return [poller for others in ([channels] if channels else list(free)) for poller in free.pop(others, [])]

    def take_overlapping(self, channels: tuple[str, ...]) -> list[AsyncPoller]:
        """Those for other channels, some of these among them: they would take what the caller is about to wait for."""
        free = self._mine()
        found = [others for others in free if others != channels and not set(channels).isdisjoint(others)]
        return [poller for others in found for poller in free.pop(others)]

    def _mine(self) -> dict[tuple[str, ...], list[AsyncPoller]]:
        return self._free.setdefault(asyncio.get_running_loop(), {})


async def _later(pop: Coroutine[Any, Any, Popped]) -> Popped:
    try:
        await asyncio.sleep(RETRY_SECONDS)
    except BaseException:
        pop.close()
        raise
    return await pop


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
