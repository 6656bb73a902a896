"""Heartbeats for other servers than those a process receives from, in event loops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from .async_driver import AsyncDriver
from .last_wills import LastWillSchedule
from .steps import awalk

logger = logging.getLogger(__name__)


class Signs:
    """Gives them beside the receiving: one of those servers may not answer, and the others are not to wait for it.

    Args:
        last_wills: knows when and where they are due.
        driver: asks the servers.
    """

    def __init__(self, last_wills: LastWillSchedule, driver: AsyncDriver) -> None:
        self._last_wills = last_wills
        self._driver = driver
        self._tasks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()

    async def give(self, readers: Sequence[str]) -> None:
        """Begin to give what is due. If this process may have been taken for gone, wait until it knows."""
        if self._last_wills.was_held_up():
            await awalk(self._last_wills.give_signs(readers), self._driver.run)
            return
        loop = asyncio.get_running_loop()
        if loop not in self._tasks:
            task = loop.create_task(awalk(self._last_wills.give_signs(readers), self._driver.run))
            self._tasks[loop] = task
            task.add_done_callback(self._done)

    async def close(self) -> None:
        """Leave what is not done yet in the running loop."""
        task = self._tasks.get(asyncio.get_running_loop())
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task.get_loop(), None)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("another server cannot be told that this process is alive: %s", error)
