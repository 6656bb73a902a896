"""Processes that tests have stand still do nothing more when the call returns."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.fixtures import freezing
from tests.fixtures.freezing import frozen

BUSY = """
import sys, threading
from pathlib import Path

def work():
    while True:
        sum(range(100))

for _ in range(4):
    threading.Thread(target=work).start()
Path(sys.argv[1]).touch()
"""


@contextmanager
def busy(directory: Path) -> Iterator[int]:
    """A process of several threads that want to run."""
    with subprocess.Popen([sys.executable, "-c", BUSY, str(directory / "begun")]) as process:
        try:
            wait_until((directory / "begun").exists, "its threads")
            yield process.pid
        finally:
            process.kill()


def seconds_used(pid: int) -> str:
    """What the threads of a process have had of processors, exactly."""
    return " ".join(path.read_text() for path in sorted(Path(f"/proc/{pid}/task").glob("*/schedstat")))


def test_a_process_that_is_frozen_does_nothing_until_it_is_let_go(tmp_path: Path) -> None:
    with busy(tmp_path) as pid:
        for _ in range(5):
            with frozen(pid):
                before = seconds_used(pid)
                assert freezing.stands_still(pid)
                assert seconds_used(pid) == before
            wait_until(lambda: not freezing.stands_still(pid), "it to go on")


def test_whoever_freezes_waits_for_a_signal_that_comes_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has no processor for the thread that would see it."""
    asked: list[int] = []
    kill, stands_still = os.kill, freezing.stands_still

    def late(pid: int, number: int) -> None:
        if number != signal.SIGSTOP:
            kill(pid, number)

    def ask(pid: int) -> bool:
        asked.append(pid)
        if len(asked) == 3:
            kill(pid, signal.SIGSTOP)
        return stands_still(pid)

    monkeypatch.setattr(os, "kill", late)
    monkeypatch.setattr(freezing, "stands_still", ask)
    with busy(tmp_path) as pid, frozen(pid):
        assert len(asked) >= 3
        assert stands_still(pid)


def test_a_process_that_is_gone_is_not_taken_for_one_that_stands_still(tmp_path: Path) -> None:
    with busy(tmp_path) as pid:
        pass
    with pytest.raises(ProcessLookupError), frozen(pid):
        pass
