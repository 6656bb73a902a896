"""Two threads in a chosen order, for tests of locks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Intruder:
    """Work for another thread, to be begun in the middle of what this one does.

    Call it in the middle. Without a lock in its way the work is done when that returns; with one it is done
    afterwards, before `finish` returns.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __call__(self, *_: Any) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run)
            self._thread.start()
            self._thread.join(0.1)

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def finish(self) -> None:
        assert self._thread is not None, "nobody came to the place where the other thread was to begin"
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
