"""Heartbeats of a worker process, and its end if there are none.

A thread that is stuck in C with the interpreter's lock stops every other thread, so nothing written in Python can
notice. `faulthandler` can: its own thread needs no lock. It writes the stacks of all threads to standard error and ends
the process. A supervisor reads the same heartbeats from a pipe: it ends a process in which not even that works, a
frozen one for example, and starts the next one while the last still finishes.
"""

from __future__ import annotations

import faulthandler
import os
import time
from typing import Protocol

BEAT_SECONDS = 1.0
"""The time between two heartbeats."""

MARGIN_SECONDS = 10.0
"""Time beyond that of a consumer: the thread that gives the heartbeats may itself wait for the layer."""

STALL_SECONDS = 1.0
"""A pause between two looks at something, of which there are several a second, that tells of a process that stood
still: on a machine that was frozen or much too busy. What is looked at may have stood still as well."""

STOP_SECONDS = 15.0
"""Time beyond the grace period that a process has to end by itself."""

STDERR = 2

HEARTBEAT_VARIABLE = "MILLRACE_HEARTBEAT"
"""Environment variable with the file descriptor of the supervisor's pipe."""

ALIVE, STOPS, IS_REPLACED = b".", b"S", b"R"
"""Words on the pipe: alive; stops, and says nothing more; the same, and another is to take its place at once."""


class Watched(Protocol):
    """The parts of a worker that this looks at."""

    termed: bool
    grace: float
    replaced_for: str | None


class Watchdog:
    """See the module. For one worker, and called in one thread; at most one of a process can end it.

    Args:
        seconds: the silence after which the process is ended, from the first heartbeat on; ``None``: only when it
            takes too long to stop for its replacement.
        pipe: file descriptor to the supervisor, if there is one.
    """

    def __init__(self, seconds: float | None, pipe: int | None = None) -> None:
        self._seconds = seconds
        self._pipe = pipe
        self._next = 0.0
        self._stops = False

    def beat(self, worker: Watched) -> None:
        """Give a heartbeat if one is due, or tell of the stop. To be called again and again."""
        now = time.monotonic()
        if self._stops:
            return
        if worker.termed:
            self._stops = True
            self._say(STOPS if worker.replaced_for is None else IS_REPLACED)
            if self._seconds is not None or worker.replaced_for is not None:
                self._allow(worker.grace + STOP_SECONDS)
        elif now >= self._next:
            self._next = now + BEAT_SECONDS
            self._say(ALIVE)
            if self._seconds is not None:
                self._allow(self._seconds + MARGIN_SECONDS)

    def ended(self, worker: Watched) -> None:
        """The worker is done. A thread that it had to leave behind must not keep the process."""
        if worker.replaced_for is not None:
            self._allow(STOP_SECONDS)
        else:
            faulthandler.cancel_dump_traceback_later()

    def _allow(self, seconds: float) -> None:
        """End the process after so many seconds, unless this is called again before."""
        faulthandler.dump_traceback_later(seconds, exit=True, file=STDERR)

    def _say(self, word: bytes) -> None:
        if self._pipe is not None:
            try:
                os.write(self._pipe, word)
            except OSError:  # the pipe is full, or the supervisor is gone, which `exit_with_parent` notices
                pass


def supervisors_pipe() -> int | None:
    """The descriptor of the supervisor's pipe. It is taken out of the environment, so that no other program gets it."""
    text = os.environ.pop(HEARTBEAT_VARIABLE, "")
    if not text.isdigit():
        return None
    pipe = int(text)
    try:
        os.set_inheritable(pipe, False)
        os.set_blocking(pipe, False)
    except OSError:  # a wrapper in between has closed it
        return None
    return pipe
