"""Ending a loop that waits in a layer, from a signal handler."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

AGAIN_SECONDS = 0.05
"""How often the layer is interrupted until the loop has ended: it may have been about to wait."""


class Stopper:
    """Wakes a loop up so that it can end.

    A signal handler may run in the middle of anything, also while this very thread holds the lock of
    an event or waits for an answer on a connection. All it may do is to write to a pipe; a thread
    at the other end does what is to be done.

    Args:
        interrupt: makes calls return that wait in the layer; callable from any thread.
        note: called at once by `stop`, in the signal handler; sets a plain attribute.

    Attributes:
        stopping: set soon after `stop`; to wait on instead of sleeping.
    """

    def __init__(self, interrupt: Callable[[], None], note: Callable[[], None]) -> None:
        self.stopping = threading.Event()
        self._interrupt = interrupt
        self._note = note
        self._ended = threading.Event()
        self._reader, self._writer = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="stop", daemon=True)

    @contextmanager
    def running(self, signal_handlers: bool) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT inside the block, if it is entered in the main thread."""
        self._thread.start()
        before: dict[int, Any] = {}
        if signal_handlers and threading.current_thread() is threading.main_thread():
            before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._ended.set()
            os.write(self._writer, b".")
            self._thread.join()
            os.close(self._reader)
            os.close(self._writer)

    def stop(self) -> None:
        """Have the loop end; callable from signal handlers, and from any thread while it runs."""
        self._note()
        os.write(self._writer, b".")

    def _on_signal(self, number: int, frame: Any) -> None:
        self.stop()

    def _watch(self) -> None:
        os.read(self._reader, 1)
        self.stopping.set()
        while not self._ended.is_set():
            self._interrupt()
            self._ended.wait(AGAIN_SECONDS)
