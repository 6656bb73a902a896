"""Several worker processes under one that looks after them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STABLE_SECONDS = 30.0
"""A process that lived so long had a good start: the pause before the next one is short again."""

POLL_SECONDS = 0.1


class _Slot:
    """One of the processes, its current incarnation, and when to start the next."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.start_at = 0.0
        self.pause = FIRST_PAUSE


class Supervisor:
    """Keeps a number of processes running.

    A process that ends by itself is started anew after a pause that doubles each time, up to
    `LONGEST_PAUSE`, until one lives for `STABLE_SECONDS`. SIGTERM and SIGINT stop them all: each gets
    SIGTERM, and SIGKILL if it has not ended ``grace`` and five seconds later. Another SIGINT while they
    stop is passed on, which ends their waiting for consumers.

    A supervisor that is killed cannot stop its processes. The program they run therefore calls
    `exit_with_parent` when it has something to stop.

    Args:
        command: program and arguments of one process.
        processes: how many of them.
        grace: seconds they need at most to finish what they do.
    """

    def __init__(self, command: list[str], processes: int, grace: float = 30.0) -> None:
        if processes < 1:
            raise ValueError(f"at least one process is needed, not {processes}")
        self.command = command
        self.grace = grace
        self._slots = [_Slot(number) for number in range(1, processes + 1)]
        self._stopping = False
        self._impatient = False

    @property
    def pids(self) -> list[int]:
        """Process ids of those that run now."""
        return [slot.process.pid for slot in self._slots if slot.process and slot.process.poll() is None]

    def run(self) -> int:
        """Run until `stop` or a signal; blocks.

        Returns:
            An exit code: 0 if all processes ended well when they were told to.
        """
        before = {}
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            try:
                while not self._stopping:
                    for slot in self._slots:
                        self._look_after(slot)
                    time.sleep(POLL_SECONDS)
            finally:
                code = self._shut_down()
            return code
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """Have `run` stop the processes and return; callable from any thread and from signal handlers."""
        # A plain attribute: a signal handler that takes a lock may find it held by the very thread it interrupts.
        self._stopping = True

    def _look_after(self, slot: _Slot) -> None:
        now = time.monotonic()
        if slot.process is None:
            if now >= slot.start_at:
                self._start(slot, now)
            return
        code = slot.process.poll()
        if code is None:
            return
        if now - slot.started >= STABLE_SECONDS:
            slot.pause = FIRST_PAUSE
        slot.process = None
        self._postpone(slot, now, f"ended with {_describe(code)}")

    def _start(self, slot: _Slot, now: float) -> None:
        try:
            # A session of its own: Ctrl-C in a terminal reaches this process alone, which passes it on once.
            slot.process = subprocess.Popen(self.command, start_new_session=True, env=self._environment())
            slot.started = now
        except OSError as error:
            self._postpone(slot, now, f"cannot be started ({error})")

    def _postpone(self, slot: _Slot, now: float, what: str) -> None:
        logger.warning("worker process %d %s; next start in %g s", slot.number, what, slot.pause)
        slot.start_at = now + slot.pause
        slot.pause = min(slot.pause * 2, LONGEST_PAUSE)

    def _shut_down(self) -> int:
        running = [(slot.number, slot.process) for slot in self._slots if slot.process is not None]
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
        # One that SIGTERM ended had not begun to work yet: it had no handler for it.
        return int(any(process.returncode not in (0, -signal.SIGTERM) for _, process in running))

    def _environment(self) -> dict[str, str]:
        return {**os.environ, PARENT_VARIABLE: str(os.getpid())}

    def _on_signal(self, number: int, frame: Any) -> None:
        if self._stopping and number == signal.SIGINT:
            self._impatient = True
        self.stop()


PARENT_VARIABLE = "MILLRACE_SUPERVISOR"
"""Environment variable by which a process knows the supervisor to watch; see `exit_with_parent`."""


def exit_with_parent(stop: Callable[[], None]) -> None:
    """Call ``stop`` when the supervisor that started this process is gone, however it went.

    To be called once, by the program that a `Supervisor` starts. Does nothing in a process that no
    supervisor started. Polls once a second in a daemon thread.
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
