"""Threads that write and read spooled bodies, so that a slow disk delays only its own connection."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from channel_layer.heap import KEPT_SECONDS, heap

from .file import SpoolFile
from .spool import Spool, Work

THREADS = 4

TRIM_SECONDS = 1.0
"""Interval in which freed memory goes back to the system while something is spooled."""


class SpoolThreads:
    """Does the work of spools, one piece at a time for each.

    Args:
        file: what they are spooled to.
        post: calls a function where the spools belong, such as ``loop.call_soon_threadsafe``.
        pool: threads to share with others; then it is theirs to close.
    """

    def __init__(
        self, file: SpoolFile, post: Callable[[Callable[[], None]], object], pool: ThreadPoolExecutor | None = None
    ) -> None:
        self.file = file
        self._post = post
        self._pool = pool or ThreadPoolExecutor(THREADS, "spool")
        self._closed = False
        self._trimmed = 0.0

    def attend(self, spool: Spool, then: Callable[[], None] | None = None, *, idle: bool = False) -> None:
        """Have done what the spool has to do.

        Args:
            spool: whose work.
            then: called where the spool belongs, after each piece of its work. It calls this again if it
                has put or taken something, or closed the spool.
            idle: see `Spool.work`.
        """
        if self._closed:
            return
        work = spool.work(idle=idle)
        if work is not None:
            try:
                future = self._pool.submit(work.run)
            except RuntimeError:  # the threads have been told to end
                work.run()
                self._finish(spool, work, then)
            else:
                future.add_done_callback(lambda _: self._post(lambda: self._finish(spool, work, then)))

    def tick(self, now: float) -> None:
        """Have freed memory given back: more often while slow clients are served, else if the process keeps it.

        Large messages pass between the little that each slow client has in memory; without this the holes that they
        leave add up, 0.2 MiB for each client.
        """
        if self._closed or not (self.file.used or heap.keeps_freed):
            return
        if now - self._trimmed >= (TRIM_SECONDS if self.file.used else KEPT_SECONDS):
            self._trimmed = now
            self._pool.submit(heap.give_back)

    def close(self) -> None:
        """Wait for what is under way and close the file; blocks. What is asked for afterwards is not done."""
        self._closed = True
        self._pool.shutdown(wait=True)
        self.file.close()

    def _finish(self, spool: Spool, work: Work, then: Callable[[], None] | None) -> None:
        spool.done(work)
        self.attend(spool, then)
        if then is not None:
            then()
