"""Tests of benchmarks.machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from benchmarks.machine import busy_ticks, cpu_seconds, memory_bytes, running_seconds, ticks, tree


def test_ticks_are_found_behind_any_name():
    assert ticks("42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 300 21 5 5 20 0 1 0 100") == 321


def test_waiting_is_not_being_busy():
    assert busy_ticks("cpu  100 20 30 5000 600 7 8 90 0 0\ncpu0 1 2 3\n") == 165


def test_a_child_is_counted_with_its_parent():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in tree(os.getpid())
        child.communicate(b"\n")
    assert memory_bytes(os.getpid()) > 1_000_000
    assert cpu_seconds(os.getpid()) > 0


def test_a_process_that_has_ended_used_nothing():
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert cpu_seconds(ended.pid) == 0


def test_work_of_a_process_is_seen_in_the_running_time_of_its_threads():
    before, used = running_seconds(os.getpid()), time.process_time()
    while time.process_time() < used + 0.05:
        pass
    assert running_seconds(os.getpid()) >= before + 0.04
