"""What a layer holds in one process: two connections, the watching thread and one for async calls."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from .database import Database
from .watch import Watch

T = TypeVar("T")


class Engine:
    """Made once per process; after a fork the child makes its own.

    Args:
        path: the file.
        private_directory: whether the directory is this layer's own and must be made and checked.
        every_look: see `Watch`.
    """

    def __init__(self, path: Path, private_directory: bool, every_look: Callable[[], None]) -> None:
        self.pid = os.getpid()
        self.database = Database(path, private_directory)
        self.watch = Watch(Database(path, private_directory), every_look)
        self._executor: ThreadPoolExecutor | None = None
        self._executor_lock = threading.Lock()

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run ``work``, which takes a fraction of a millisecond, where it does not hold up the loop."""
        with self._executor_lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, "channel-layer-async")
            running = asyncio.get_running_loop().run_in_executor(self._executor, work)
        return await running

    def close(self) -> None:
        """End the thread of the async calls, when it is done, and close the connection."""
        with self._executor_lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown()
        self.database.close()
