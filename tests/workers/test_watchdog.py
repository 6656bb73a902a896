"""Heartbeats, and the end of processes that give none, as real processes where they end."""

from __future__ import annotations

import faulthandler
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workers import watchdog as module
from workers.watchdog import HEARTBEAT_VARIABLE, Watchdog, supervisors_pipe

ROOT = Path(__file__).parents[2]

HOLDS_THE_INTERPRETER = """
import ctypes, sys, threading
from types import SimpleNamespace
from workers import watchdog
watchdog.MARGIN_SECONDS = 0.0
dog = watchdog.Watchdog(0.5)
dog.beat(SimpleNamespace(termed=False, grace=1.0, replaced_for=None))
def stuck_in_c():
    ctypes.PyDLL(None).sleep(60)  # PyDLL keeps the interpreter's lock
stuck_in_c()
"""

LEAVES_A_THREAD = """
import concurrent.futures, sys, threading
from types import SimpleNamespace
from workers import watchdog
watchdog.STOP_SECONDS = 0.5
pool = concurrent.futures.ThreadPoolExecutor(1)
pool.submit(threading.Event().wait)  # Python waits for such a thread for ever
watchdog.Watchdog(None).ended(SimpleNamespace(termed=True, grace=1.0, replaced_for=sys.argv[1] or None))
if not sys.argv[1]:
    import os; os._exit(0)
"""


class Working:
    termed = False
    grace = 30.0
    replaced_for: str | None = None


@pytest.fixture
def armed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the process has, each time that is set."""
    given: list[float] = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda seconds, **options: given.append(seconds))
    return given


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=40, check=False
    )


def test_a_process_whose_interpreter_is_held_ends_with_its_stacks() -> None:
    ended = run(HOLDS_THE_INTERPRETER)
    assert ended.returncode == 1
    assert "stuck_in_c" in ended.stderr


def test_a_thread_that_was_left_behind_does_not_keep_a_process_that_is_replaced() -> None:
    assert run(LEAVES_A_THREAD, "hung").returncode == 1
    assert run(LEAVES_A_THREAD, "").returncode == 0


def test_heartbeats_come_once_a_second_and_end_with_the_stop(
    armed: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    worker, dog = Working(), Watchdog(5.0, writer)
    times = iter([100.0, 100.5, 101.1, 101.2, 103.0, 104.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(times))
    for _ in range(3):
        dog.beat(worker)
    worker.termed = True
    for _ in range(2):
        dog.beat(worker)
    assert os.read(reader, 99) == b"..S"
    assert armed == [15.0, 15.0, 45.0]
    os.close(reader)
    dog = Watchdog(None, writer)
    dog.beat(Working())  # nobody reads any more
    os.close(writer)
    assert len(armed) == 3


def test_a_worker_that_is_replaced_says_so_and_has_its_time(armed: list[float]) -> None:
    reader, writer = os.pipe()
    worker, dog = Working(), Watchdog(None, writer)
    worker.termed, worker.replaced_for = True, "it is old"
    dog.beat(worker)
    dog.ended(worker)
    assert os.read(reader, 99) == b"R"
    assert armed == [45.0, 15.0]
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("value", [None, "", "x", "999999"])
def test_without_a_supervisor_there_is_no_pipe(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        monkeypatch.setenv(HEARTBEAT_VARIABLE, value)
    assert supervisors_pipe() is None
    assert HEARTBEAT_VARIABLE not in os.environ


def test_other_programs_do_not_get_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    monkeypatch.setenv(HEARTBEAT_VARIABLE, str(writer))
    pipe: Any = supervisors_pipe()
    assert pipe == writer
    assert not os.get_inheritable(pipe)
    os.close(reader)
    os.close(writer)
