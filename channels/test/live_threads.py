"""The parts of a live test in threads of its process, for layers that reach no further."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from .live_parts import STOP_SECONDS, start


class Part(Protocol):
    """An interface server or workers, running until they are stopped."""

    def wait_until_ready(self) -> None:
        """Block until it does its work, or raise why it does not."""

    def run(self) -> None:
        """Block until stopped."""

    def stop(self) -> None:
        """Have `run` return."""


class Threaded:
    """A part that runs in a thread from the beginning."""

    def __init__(self, part: Part) -> None:
        self._part: Any = part
        self._thread: threading.Thread = start(part.run)

    def wait_until_ready(self) -> int:
        """Block until the part does its work; returns the port it listens on, 0 for a worker."""
        self._part.wait_until_ready()
        return int(getattr(self._part, "port", 0))

    def hang_up(self) -> None:
        """Tell the part to stop, without waiting."""
        self._part.stop()

    def stop(self) -> None:
        """Tell the part to stop and wait for it."""
        self._part.stop()
        self._thread.join(STOP_SECONDS * 2)
