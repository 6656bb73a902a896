"""The heap of web servers and workers."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from channel_layer.heap import Heap, heap

LIMIT = 64 * 1_048_576

SCRIPT = """
import resource
from channel_layer.heap import heap
if {keeps}:
    heap.keep_freed()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
def message():
    return [bytes(b"x" * 1_048_576) for _ in range(8)]
message()
before = faults()
for _ in range(20):
    message()
taken, grown = faults() - before, resident()
heap.give_back()
print(taken, grown - resident())
"""


class Library:
    """A C library, and what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []

    def mallopt(self, *values: int) -> int:
        self.calls.append(values)
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.calls.append((pad,))
        return 1


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)


def test_what_is_freed_is_kept_and_given_back_when_asked() -> None:
    library = Library()
    kept = Heap(library)
    assert not kept.keeps_freed
    kept.keep_freed()
    assert kept.keeps_freed
    assert library.calls == [(-3, LIMIT // 2), (-1, LIMIT)]
    kept.give_back()
    assert library.calls[2:] == [(0,)]


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"])
def test_settings_of_the_environment_stay(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    library = Library()
    kept = Heap(library)
    kept.keep_freed()
    assert not kept.keeps_freed
    assert library.calls == []


def test_another_c_library_is_left_alone() -> None:
    other = Heap(object())
    other.keep_freed()
    other.give_back()
    assert not other.keeps_freed


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="of glibc")
def test_a_process_does_not_ask_for_the_same_pages_again_and_again() -> None:
    def run(keeps: bool) -> tuple[int, int]:
        command = [sys.executable, "-c", SCRIPT.format(keeps=keeps)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        taken, given = map(int, done.stdout.split())
        return taken, given

    by_default, _ = run(keeps=False)
    taken, given = run(keeps=True)
    assert by_default > 1_000
    assert taken < by_default / 10
    assert given > 4 * 1_048_576


def test_this_process_has_a_heap() -> None:
    heap.give_back()
