"""CPU time and memory of processes that have nothing to do."""

from __future__ import annotations

import time
from pathlib import Path

from ..clients import once
from ..cpu import memory_bytes, tree
from ..peers import ours
from ..section import Section, Setting
from ..stack import Stack
from .rows import HEADS, at_most, mebibytes, middle, share

SECONDS = 20.0
"""Length of the watch, in as many pieces as there are rounds."""

LARGEST_SHARE = 0.005
LARGEST_MEMORY = 60 * 1_048_576

TEXT = f"""\
One worker and one interface server over Redis, after they have answered a few echoes, and {SECONDS:.0f} s
without anything to do. CPU time is that of all threads, from `/proc/<pid>/task/*/schedstat`, which counts
nanoseconds; memory is resident (RSS), shared libraries included, so the highest of the figures one may go by."""


def study(setting: Setting) -> Section:
    """Watch an idle stack; see `TEXT`."""
    with Stack(ours()) as stack:
        once(stack, "echo", path="/echo/", sockets=4, seconds=1.0)
        stack.settle()
        shares = idle_shares(stack, setting.rounds)
        memory = {role: memory_bytes(stack.processes[role].pid) for role in shares}
    rows = [HEADS]
    for role, rounds in shares.items():
        setting.tell(f"idle, {role}: {share(middle(rounds))}")
        rows.append(at_most(f"idle {role}, of one processor", middle(rounds), LARGEST_SHARE, share))
        rows.append(at_most(f"idle {role}, memory", memory[role], LARGEST_MEMORY, mebibytes))
    return Section("Idle cost", TEXT, rows, {"share": shares, "memory": memory})


def idle_shares(stack: Stack, rounds: int, seconds: float = SECONDS) -> dict[str, list[float]]:
    """The share of one processor that worker and server use in each of so many pieces of a time."""
    shares: dict[str, list[float]] = {"worker": [], "server": []}
    for _ in range(rounds):
        before = {role: running_seconds(stack.processes[role].pid) for role in shares}
        began = time.perf_counter()
        time.sleep(seconds / rounds)
        for role, so_far in before.items():
            used = running_seconds(stack.processes[role].pid) - so_far
            shares[role].append(used / (time.perf_counter() - began))
    stack.check()
    return shares


def running_seconds(pid: int) -> float:
    """CPU seconds of the threads of a process and its descendants, to the nanosecond."""
    found = 0
    for member in tree(pid):
        for file in Path(f"/proc/{member}/task").glob("*/schedstat"):
            try:
                found += nanoseconds(file.read_text())
            except OSError:
                continue
    return found / 1e9


def nanoseconds(schedstat: str) -> int:
    """Time on a processor in the text of a ``schedstat`` file: its first number."""
    return int(schedstat.split()[0])
