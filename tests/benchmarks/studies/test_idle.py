"""Tests of benchmarks.studies.idle."""

from __future__ import annotations

import os
import time

from benchmarks.studies.idle import nanoseconds, running_seconds


def test_the_first_number_is_the_time_on_a_processor() -> None:
    assert nanoseconds("1234567890 42 7\n") == 1_234_567_890


def test_work_of_a_process_is_seen_in_its_running_time() -> None:
    before, used = running_seconds(os.getpid()), time.process_time()
    while time.process_time() < used + 0.05:
        pass
    assert running_seconds(os.getpid()) >= before + 0.04
