"""A way to end a loop that waits in a layer, from a signal handler."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress

from workers.stop_signals import handling_stop_signals

logger = logging.getLogger("channels.delay")

AGAIN_SECONDS = 0.05
"""Time between two interrupts of the layer until the loop has ended: it may have been about to wait."""


class Stopper:
    """Wakes a loop so that it can end.

    A signal handler may run at any point, also while its thread holds the lock of an event or waits for an
    answer on a connection. So it only writes to a socket; a thread at the other end does the rest.

    Args:
        interrupt: makes calls return that wait in the layer; callable from any thread.
        note: called at once by `stop`, in the signal handler; must only set a plain attribute.

    Attributes:
        stopping: set soon after `stop`; to wait on instead of sleeping.
    """

    def __init__(self, interrupt: Callable[[], None], note: Callable[[], None]) -> None:
        self.stopping = threading.Event()
        self._interrupt = interrupt
        self._note = note
        self._ended = threading.Event()
        self._reader, self._writer = socket.socketpair()
        self._thread = threading.Thread(target=self._watch, name="stop", daemon=True)

    @contextmanager
    def running(self, signal_handlers: bool) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT inside the block, if it is entered in the main thread."""
        self._thread.start()
        try:
            with handling_stop_signals(self._on_signal) if signal_handlers else nullcontext():
                yield
        finally:
            self._ended.set()
            self._wake()
            self._thread.join()
            self._reader.close()
            self._writer.close()

    def stop(self) -> None:
        """Have the loop end; callable from signal handlers and from any thread, also when it has ended."""
        self._note()
        self._wake()

    def _wake(self) -> None:
        with suppress(OSError):  # closed: the loop has ended
            self._writer.send(b".")

    def _on_signal(self, number: int, frame: object) -> None:
        self.stop()

    def _watch(self) -> None:
        self._reader.recv(1)
        self.stopping.set()
        while not self._ended.is_set():
            try:
                self._interrupt()
            except Exception as error:
                logger.warning("the layer cannot be interrupted (%s); stopping once it answers", error)
            self._ended.wait(AGAIN_SECONDS)
