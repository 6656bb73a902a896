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
from .watchdog import ALIVE, HEARTBEAT_VARIABLE, IS_REPLACED, STALL_SECONDS, STOP_SECONDS

logger = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STABLE_SECONDS = 30.0
"""The life of a process after which the pause before the next start is short again."""

POLL_SECONDS = 0.1

REPLACE = os.EX_TEMPFAIL
"""Exit code of a process that ended for another to take its place: one that hung or has done enough. 75."""

SILENT_MARGIN_SECONDS = 20.0
"""Time beyond that of a consumer after which a process without heartbeats is killed. It ends itself sooner."""


class _Child:
    """One of the processes, as it runs now or is to be started again."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.pipe: int | None = None
        self.heard: float | None = None
        self.started = 0.0
        self.start_at = 0.0
        self.pause = FIRST_PAUSE

    def listen(self, now: float) -> bytes:
        """Read the heartbeats that have come."""
        try:
            words = b"" if self.pipe is None else os.read(self.pipe, 4096)
        except BlockingIOError:
            return b""
        if words:
            self.heard = now if words.endswith(ALIVE) else None
        return words

    def excuse(self, now: float) -> None:
        """Count its silence from now on: it could not be heard, and may not have been able to speak."""
        if self.heard is not None:
            self.heard = now

    def forget(self) -> None:
        """Let the process go, which has ended or is about to."""
        if self.pipe is not None:
            os.close(self.pipe)
        self.process = self.pipe = self.heard = None


class Supervisor:
    """Keep a number of processes running.

    A process that ends by itself is started anew after a pause that doubles each time, up to
    `LONGEST_PAUSE`, until one lives for `STABLE_SECONDS`. SIGTERM and SIGINT stop them all: each gets
    SIGTERM, and SIGKILL if it has not ended ``grace`` and five seconds later. Another SIGINT while they
    stop is passed on, which ends their waiting for consumers.

    A process that says over its pipe that it is to be replaced (see `Watchdog`) gets a successor at once, if it has
    lived for `STABLE_SECONDS`, and time to finish.

    A supervisor that is killed cannot stop its processes. The program that they run therefore calls
    `exit_with_parent`.

    Args:
        command: program and arguments of one process.
        processes: the number of them.
        grace: seconds that they need at most to finish.
        silence: seconds without a heartbeat after which one is killed, from its first sign on; ``None``: never.

    Raises:
        ValueError: there is to be less than one.
    """

    def __init__(self, command: list[str], processes: int, grace: float = 30.0, silence: float | None = None) -> None:
        if processes < 1:
            raise ValueError(f"at least one process is needed, not {processes}")
        self.command = command
        self.grace = grace
        self.silence = silence
        self._leaving: list[tuple[int, subprocess.Popen[bytes], float]] = []
        self._children = [_Child(number) for number in range(1, processes + 1)]
        self.ticked = time.monotonic()
        self._stopping = False
        self._impatient = False

    @property
    def pids(self) -> list[int]:
        """Process ids of those that run now."""
        return [process.pid for _, process in self._processes if process.poll() is None]

    @property
    def _processes(self) -> list[tuple[int, subprocess.Popen[bytes]]]:
        now = [(child.number, child.process) for child in self._children if child.process is not None]
        return now + [(number, process) for number, process, _ in self._leaving]

    def run(self) -> int:
        """Run until `stop` or a signal; blocks.

        Returns:
            An exit code: 0 if all processes ended well when they were told to.
        """
        with handling_stop_signals(self._on_signal):
            try:
                while not self._stopping:
                    now = time.monotonic()
                    if now - self.ticked >= STALL_SECONDS:
                        for child in self._children:
                            child.excuse(now)
                    self.ticked = now
                    for child in self._children:
                        self._look_after(child)
                    self._look_after_leaving()
                    time.sleep(POLL_SECONDS)
            finally:
                code = self._shut_down()
            return code

    @property
    def is_stopping(self) -> bool:
        """True once it has been told to stop."""
        return self._stopping

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
                    self._start(child)
                    child.started = now
                except OSError as error:
                    self._postpone(child, now, f"cannot be started ({error})")
            return
        words = child.listen(now)
        code = child.process.poll()
        if code is None and IS_REPLACED in words:
            self._leaving.append((child.number, child.process, now + self.grace + STOP_SECONDS + 5))
            code = REPLACE
        if code is None:
            if self.silence is not None and child.heard is not None and now - child.heard >= self.silence:
                logger.error(
                    "worker process %d has given no heartbeat for %.3g s and is killed: something holds the "
                    "interpreter, or the process is frozen", child.number, now - child.heard,
                )  # fmt: skip
                child.process.kill()
            return
        is_stable = now - child.started >= STABLE_SECONDS
        if is_stable:
            child.pause = FIRST_PAUSE
        child.forget()
        if code == REPLACE and is_stable:
            logger.info("worker process %d is replaced", child.number)
            child.start_at = now
        elif code == REPLACE:
            self._postpone(child, now, f"is replaced after {now - child.started:.0f} s")
        else:
            self._postpone(child, now, f"ended with {_describe(code)}")

    def _start(self, child: _Child) -> None:
        ours, theirs = os.pipe()
        try:
            # A session of its own: Ctrl-C in a terminal reaches this process alone, which passes it on once.
            child.process = subprocess.Popen(
                self.command,
                start_new_session=True,
                pass_fds=(theirs,),
                env={**os.environ, PARENT_VARIABLE: str(os.getpid()), HEARTBEAT_VARIABLE: str(theirs)},
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        os.set_blocking(ours, False)
        child.pipe = ours

    def _look_after_leaving(self) -> None:
        """See the end of processes that have been replaced already."""
        now = time.monotonic()
        for entry in list(self._leaving):
            number, process, deadline = entry
            if process.poll() is not None:
                self._leaving.remove(entry)
                if process.returncode != REPLACE:
                    logger.warning("worker process %d, replaced before, ended with %s",
                                   number, _describe(process.returncode))  # fmt: skip
            elif now >= deadline:
                logger.error("worker process %d, replaced before, did not end in time and is killed", number)
                process.kill()

    def _postpone(self, child: _Child, now: float, what: str) -> None:
        logger.warning("worker process %d %s; next start in %g s", child.number, what, child.pause)
        child.start_at = now + child.pause
        child.pause = min(child.pause * 2, LONGEST_PAUSE)

    def _shut_down(self) -> int:
        """Stop the processes, with SIGKILL in the end; returns the exit code."""
        running = self._processes
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
        for child in self._children:
            child.forget()
        self._leaving.clear()
        # A process that SIGTERM ended had not begun to work yet: it had no handler for it.
        return int(any(process.returncode not in (0, REPLACE, -signal.SIGTERM) for _, process in running))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stopping and number == signal.SIGINT:
            self._impatient = True
        self.stop()


PARENT_VARIABLE = "MILLRACE_SUPERVISOR"
"""Environment variable that names the supervisor's process id; see `exit_with_parent`."""


def supervisor_pid() -> int | None:
    """The process id of the supervisor that started this process; to be called before `exit_with_parent`."""
    text = os.environ.get(PARENT_VARIABLE, "")
    return int(text) if text.isdigit() and int(text) != os.getpid() else None


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
