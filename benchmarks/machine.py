"""Facts about the machine of a measurement; CPU time and memory of running processes, children included, from /proc."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .environments import program, versions

_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def describe(environments: list[str]) -> dict[str, str]:
    """Hardware, system and versions, as name → text."""
    redis = subprocess.run([program("redis-server"), "--version"], capture_output=True, text=True, check=True).stdout
    return {
        "processor": f"{len(os.sched_getaffinity(0))} × {_field('/proc/cpuinfo', 'model name')}",
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / 1_048_576:.1f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Redis": next((word[2:] for word in redis.split() if word.startswith("v=")), redis.strip()),
        "HTTP client": "wrk, 1 thread",
        "load average before": f"{os.getloadavg()[0]:.2f}",
        **{environment: versions(environment) for environment in environments},
    }


def _field(path: str, name: str) -> str:
    pairs = (line.partition(":") for line in Path(path).read_text().splitlines())
    return next((value.strip() for key, _, value in pairs if key.strip() == name), "0")


def tree(pid: int) -> list[int]:
    """A process and all that descend from it; without those that ended meanwhile."""
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        for text in _texts(found[-1:], "task/*/children"):
            waiting += map(int, text.split())
    return found


def _texts(pids: list[int], name: str) -> Iterator[str]:
    """Contents of a file of each process, without those that ended meanwhile."""
    for pid in pids:
        for path in Path(f"/proc/{pid}").glob(name):
            try:
                yield path.read_text()
            except OSError:
                continue


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its descendants, to the clock tick (10 ms); 0 if it has ended."""
    return sum(map(ticks, _texts(tree(pid), "stat"))) / _TICK


def ticks(stat: str) -> int:
    """User and system ticks in a line of ``/proc/<pid>/stat`` (proc(5)); the name in it may hold anything."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def running_seconds(pid: int) -> float:
    """CPU seconds of the threads that a process and its descendants have now, to the nanosecond (``schedstat``)."""
    return sum(int(text.split()[0]) for text in _texts(tree(pid), "task/*/schedstat")) / 1e9


def memory_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants, shared pages counted in each; 0 if it has ended."""
    return sum(int(text.split()[1]) for text in _texts(tree(pid), "statm") if text) * os.sysconf("SC_PAGE_SIZE")


def machine_seconds() -> float:
    """CPU seconds that all processors together have been busy since the start of the machine."""
    return busy_ticks(Path("/proc/stat").read_text()) / _TICK


def busy_ticks(stat: str) -> int:
    """Busy ticks in the first line of ``/proc/stat`` (proc(5)): user, nice, system, irq and softirq."""
    fields = [int(field) for field in stat.split("\n", 1)[0].split()[1:]]
    return sum(fields[place] for place in (0, 1, 2, 5, 6))
