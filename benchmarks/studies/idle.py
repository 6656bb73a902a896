"""CPU time and memory of processes that have nothing to do."""

from __future__ import annotations

import time

from ..clients import once
from ..figures import HEADS, mebibytes, middle, row, share
from ..machine import memory_bytes, running_seconds
from ..peers import ours
from ..report import Section, Setting
from ..stack import Stack

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
        rows.append(row(f"idle {role}, of one processor", middle(rounds), share, most=LARGEST_SHARE))
        rows.append(row(f"idle {role}, memory", memory[role], mebibytes, most=LARGEST_MEMORY))
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
