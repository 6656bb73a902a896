"""Resources of a layer in one process: two connections, the watching thread and one for async calls."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from .database import BusyError, Database
from .location import Location
from .space import Space
from .watch import FileWatch

T = TypeVar("T")


class Engine:
    """Made once per process; after a fork the child makes its own.

    Args:
        location: the file.
        every_look: see `FileWatch`.
    """

    def __init__(self, location: Location, every_look: Callable[[], None]) -> None:
        self.pid = os.getpid()
        self.database = Database(location)
        self.space = Space(location.path, self.database.merge_log)
        self.watch = FileWatch(Database(location), every_look)
        self._executor: ThreadPoolExecutor | None = None
        self._executor_lock = threading.Lock()
        self._in_thread = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Run ``work``, which uses the database: here if nothing is to be waited for, else in another thread.

        It is begun again there if it turns out that it has to wait. What is called first is run first.
        """
        if not self._in_thread:
            try:
                return self.database.at_once(work)
            except BusyError:
                pass
        with self._executor_lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, "channel-layer-async")
            running = self._executor.submit(work)
            self._in_thread += 1
        running.add_done_callback(self._one_less)
        return await asyncio.wrap_future(running)

    def _one_less(self, running: Future[Any]) -> None:
        with self._executor_lock:
            self._in_thread -= 1

    def close(self) -> None:
        """End the thread of the async calls, when it is done, and close the connection."""
        with self._executor_lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown()
        self.database.close()
