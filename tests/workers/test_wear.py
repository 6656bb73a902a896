from __future__ import annotations

import mmap
import random
import time

import pytest

from channel_layer.heap import heap
from workers import wear as module
from workers.wear import MIB, Wear, resident_bytes


def test_without_limits_a_process_is_never_worn_out() -> None:
    assert Wear().verdict(10**12) is None


def test_a_limit_of_messages_is_drawn_so_that_processes_do_not_end_together() -> None:
    random.seed(1)
    ends = {next(n for n in range(2000) if Wear(max_messages=1000).verdict(n) is not None) for _ in range(3)}
    many = [Wear(max_messages=1000)._max_messages for _ in range(100)]
    assert len(ends) > 1
    assert all(limit is not None and 800 <= limit <= 1000 for limit in many)
    assert Wear(max_messages=1).verdict(1) == "it has taken 1 messages (--max-messages)"


def test_memory_is_measured_again_each_time() -> None:
    now = 100 * MIB
    wear = Wear(max_memory=200 * MIB, memory=lambda: now)
    assert wear.verdict(0) is None
    now = 201 * MIB
    assert wear.verdict(0) == "it has 201 MiB in memory (--max-memory)"


def test_memory_that_is_free_and_only_kept_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100 * MIB

    def give_back() -> None:
        nonlocal now
        now -= 50 * MIB

    monkeypatch.setattr(heap, "give_back", give_back)
    wear = Wear(max_memory=200 * MIB, memory=lambda: now)
    now = 199 * MIB
    assert wear.verdict(0) is None
    assert now == 199 * MIB
    now = 240 * MIB
    assert wear.verdict(0) is None
    now = 251 * MIB
    assert wear.verdict(0) == "it has 201 MiB in memory (--max-memory)"


def test_less_memory_than_the_start_takes_is_one_sentence() -> None:
    with pytest.raises(
        ValueError, match="20 MiB is less than the 64 MiB that a worker of this project has at its start"
    ):
        Wear(max_memory=20 * MIB, memory=lambda: 64 * MIB)


def test_the_age_counts_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    wear = Wear(max_age=100)
    now += 79
    assert wear.verdict(0) is None
    now += 22
    assert wear.verdict(0) == "it is 101 s old (--max-age)"


def test_memory_of_this_process_grows_with_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resident_bytes()
    with mmap.mmap(-1, 32 * MIB) as block:  # a bytes object may take memory that this process has in RAM already
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        assert resident_bytes() - before > 24 * MIB
    monkeypatch.setattr(module, "_STATM", module.Path("/nowhere"))
    assert resident_bytes() > 24 * MIB  # the most so far, as on macOS
