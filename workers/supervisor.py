"""Several worker processes under one that keeps them running."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from types import FrameType

from .stop_signals import handling_stop_signals

logger = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STABLE_SECONDS = 30.0
"""The life of a process after which the pause before the next start is short again."""

POLL_SECONDS = 0.1


class _Child:
    """One of the processes, as it runs now or is to be started again."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.start_at = 0.0
        self.pause = FIRST_PAUSE


class Supervisor:
    """Keep a number of processes running.

    A process that ends by itself is started anew after a pause that doubles each time, up to
    `LONGEST_PAUSE`, until one lives for `STABLE_SECONDS`. SIGTERM and SIGINT stop them all: each gets
    SIGTERM, and SIGKILL if it has not ended ``grace`` and five seconds later. Another SIGINT while they
    stop is passed on, which ends their waiting for consumers.

    A supervisor that is killed cannot stop its processes. The program that they run therefore calls
    `exit_with_parent`.

    Args:
        command: program and arguments of one process.
        processes: the number of them.
        grace: seconds that they need at most to finish.

    Raises:
        ValueError: there is to be less than one.
    """

    def __init__(self, command: list[str], processes: int, grace: float = 30.0) -> None:
        if processes < 1:
            raise ValueError(f"at least one process is needed, not {processes}")
        self.command = command
        self.grace = grace
        self._children = [_Child(number) for number in range(1, processes + 1)]
        self._stopping = False
        self._impatient = False

    @property
    def pids(self) -> list[int]:
        """Process ids of those that run now."""
        return [child.process.pid for child in self._children if child.process and child.process.poll() is None]

    def run(self) -> int:
        """Run until `stop` or a signal; blocks.

        Returns:
            An exit code: 0 if all processes ended well when they were told to.
        """
        with handling_stop_signals(self._on_signal):
            try:
                while not self._stopping:
                    for child in self._children:
                        self._look_after(child)
                    time.sleep(POLL_SECONDS)
            finally:
                code = self._shut_down()
            return code

    def stop(self) -> None:
        """Have `run` stop the processes and return; callable from any thread and from signal handlers."""
        # A plain attribute: a signal handler that takes a lock may find it held by the very thread it interrupts.
        self._stopping = True

    def _look_after(self, child: _Child) -> None:
        """Start a process if it is time to, and notice the end of one that runs."""
        now = time.monotonic()
        if child.process is None:
            if now >= child.start_at:
                try:
                    # A session of its own: Ctrl-C in a terminal reaches this process alone, which passes it on once.
                    child.process = subprocess.Popen(
                        self.command, start_new_session=True, env={**os.environ, PARENT_VARIABLE: str(os.getpid())}
                    )
                    child.started = now
                except OSError as error:
                    self._postpone(child, now, f"cannot be started ({error})")
            return
        code = child.process.poll()
        if code is None:
            return
        if now - child.started >= STABLE_SECONDS:
            child.pause = FIRST_PAUSE
        child.process = None
        self._postpone(child, now, f"ended with {_describe(code)}")

    def _postpone(self, child: _Child, now: float, what: str) -> None:
        logger.warning("worker process %d %s; next start in %g s", child.number, what, child.pause)
        child.start_at = now + child.pause
        child.pause = min(child.pause * 2, LONGEST_PAUSE)

    def _shut_down(self) -> int:
        """Stop the processes, with SIGKILL in the end; returns the exit code."""
        running = [(child.number, child.process) for child in self._children if child.process is not None]
        for _, process in running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self.grace + 5
        passed_on = False
        while any(process.poll() is None for _, process in running) and time.monotonic() < deadline:
            if self._impatient and not passed_on:
                passed_on = True
                for _, process in running:
                    process.send_signal(signal.SIGINT)
            time.sleep(POLL_SECONDS)
        for number, process in running:
            if process.poll() is None:
                logger.error("worker process %d did not end in time and is killed", number)
                process.kill()
                process.wait()
        # A process that SIGTERM ended had not begun to work yet: it had no handler for it.
        return int(any(process.returncode not in (0, -signal.SIGTERM) for _, process in running))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stopping and number == signal.SIGINT:
            self._impatient = True
        self.stop()


PARENT_VARIABLE = "MILLRACE_SUPERVISOR"
"""Environment variable that names the supervisor's process id; see `exit_with_parent`."""


def exit_with_parent(stop: Callable[[], None]) -> None:
    """Call ``stop`` when the supervisor that started this process has ended, whatever ended it.

    To be called once, by the program that a `Supervisor` starts. Does nothing in a process without a
    supervisor. Polls once a second in a daemon thread.
    """
    # Taken out, so that programs started by consumers do not take the supervisor for their own.
    text = os.environ.pop(PARENT_VARIABLE, "")
    if not text.isdigit() or int(text) == os.getpid():
        return
    parent = int(text)
    # Not always the supervisor: a wrapper may stand between, or the supervisor be gone already but not yet reaped.
    above = os.getppid()

    def watch() -> None:
        while os.getppid() == above and _exists(parent):
            time.sleep(1.0)
        logger.warning("the supervisor is gone; stopping")
        stop()

    threading.Thread(target=watch, name="watch-supervisor", daemon=True).start()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _describe(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:  # real-time signals have no name
        return f"signal {-code}"
