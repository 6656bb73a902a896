"""CPU time and memory of running processes, children included, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def tree(pid: int) -> list[int]:
    """A process and all that descend from it; without those that ended meanwhile."""
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        for task in Path(f"/proc/{current}/task").glob("*/children"):
            try:
                waiting += map(int, task.read_text().split())
            except OSError:
                continue
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its descendants, to the clock tick (10 ms); 0 if it has ended."""
    return sum(times(pid))


def times(pid: int) -> tuple[float, float]:
    """The same, user and system time apart."""
    each = [_ticks(member) for member in tree(pid)]
    return sum(user for user, _ in each) / _TICK, sum(system for _, system in each) / _TICK


def machine_seconds() -> float:
    """CPU seconds that all processors together have been busy since the start of the machine."""
    return busy_ticks(Path("/proc/stat").read_text()) / _TICK


def busy_ticks(stat: str) -> int:
    """Busy ticks in the first line of ``/proc/stat`` (proc(5)): user, nice, system, irq and softirq."""
    fields = [int(field) for field in stat.split("\n", 1)[0].split()[1:]]
    return sum(fields[place] for place in (0, 1, 2, 5, 6))


def memory_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants, shared pages counted in each; 0 if it has ended."""
    pages = 0
    for each in tree(pid):
        try:
            pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
    return pages * os.sysconf("SC_PAGE_SIZE")


def _ticks(pid: int) -> tuple[int, int]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0, 0
    return ticks(text)


def ticks(stat: str) -> tuple[int, int]:
    """User and system ticks in a line of ``/proc/<pid>/stat`` (proc(5)); the name in it may hold anything."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])
