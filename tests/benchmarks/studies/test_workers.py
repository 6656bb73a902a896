"""Tests of benchmarks.studies.workers."""

from __future__ import annotations

import pytest

from benchmarks.studies.workers import usage


def test_the_share_is_that_of_sixteen_threads_which_sleep_twenty_milliseconds() -> None:
    assert usage({"count": 1_520, "seconds": 2.0}) == pytest.approx(0.95)
