"""Several worker processes under one that looks after them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
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
    SIGTERM, and SIGKILL if it has not ended ``grace`` and five seconds later.

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
        self._stop = threading.Event()

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
            while not self._stop.wait(POLL_SECONDS):
                for slot in self._slots:
                    self._look_after(slot)
            return self._shut_down()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """Have `run` stop the processes and return."""
        self._stop.set()

    def _look_after(self, slot: _Slot) -> None:
        now = time.monotonic()
        if slot.process is None:
            if now >= slot.start_at:
                # A session of its own: Ctrl-C in a terminal reaches this process alone, which passes it on once.
                slot.process = subprocess.Popen(self.command, start_new_session=True, env=self._environment())
                slot.started = now
            return
        code = slot.process.poll()
        if code is None:
            return
        if now - slot.started >= STABLE_SECONDS:
            slot.pause = FIRST_PAUSE
        logger.warning("worker process %d ended with %s; next start in %g s", slot.number, _describe(code), slot.pause)
        slot.process = None
        slot.start_at = now + slot.pause
        slot.pause = min(slot.pause * 2, LONGEST_PAUSE)

    def _shut_down(self) -> int:
        running = [slot for slot in self._slots if slot.process is not None]
        for slot in running:
            _signal(slot.process, signal.SIGTERM)
        deadline = time.monotonic() + self.grace + 5
        worst = 0
        for slot in running:
            assert slot.process is not None
            try:
                code = slot.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.error("worker process %d did not end in time and is killed", slot.number)
                _signal(slot.process, signal.SIGKILL)
                code = slot.process.wait()
            if code != 0:
                worst = 1
        return worst

    def _environment(self) -> dict[str, str]:
        return {**os.environ, PARENT_VARIABLE: str(os.getpid())}

    def _on_signal(self, number: int, frame: Any) -> None:
        self.stop()


PARENT_VARIABLE = "MILLRACE_SUPERVISOR"
"""Environment variable by which a process knows the supervisor to watch; see `exit_with_parent`."""


def exit_with_parent(stop: Any) -> None:
    """Call ``stop`` when the supervisor that started this process is gone, however it went.

    Does nothing in a process that no supervisor started. Polls once a second in a daemon thread.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None or int(parent) != os.getppid():
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(1.0)
        logger.warning("the supervisor is gone; stopping")
        stop()

    threading.Thread(target=watch, name="watch-supervisor", daemon=True).start()


def _signal(process: subprocess.Popen[bytes] | None, number: int) -> None:
    if process is not None and process.poll() is None:
        process.send_signal(number)


def _describe(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
