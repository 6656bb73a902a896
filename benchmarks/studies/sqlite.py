"""The layer that needs no server: echoes over a file, and what waiting for it costs."""

from __future__ import annotations

from typing import Any

from ..clients import once
from ..figures import HEADS, middle, per_second, rate_text, row, share, time_text
from ..peers import ours
from ..report import Section, Setting
from ..stack import Stack
from .idle import SECONDS, idle_shares

LONGEST = 0.0025
LEAST_RATE = 8_000
LARGEST_SHARE = 0.01

QUIET_AFTER = 6.0
"""Seconds after the last message: by then a waiting process looks for the next one less often."""

TEXT = f"""\
One interface server and one worker over the sqlite layer, both with their defaults: echoes of 100 bytes over 1
and over 50 sockets. Then nothing happens, and the CPU time of both processes is read over the first
{QUIET_AFTER:.0f} s, in which the next message would still be found within 4 ms, and over the {SECONDS:.0f} s
after these, which is what waiting costs."""


def study(setting: Setting) -> Section:
    """Measure; see `TEXT`."""
    echoes: dict[int, list[dict[str, Any]]] = {1: [], 50: []}
    with Stack(ours(layer="sqlite")) as stack:
        for sockets, rounds in echoes.items():
            once(stack, "echo", path="/echo/", sockets=sockets, seconds=1.0)
            for _ in range(setting.rounds):
                rounds.append(once(stack, "echo", path="/echo/", sockets=sockets, seconds=setting.seconds))
                said = f"{time_text(rounds[-1]['p50'])}, {rate_text(per_second(rounds[-1]))}"
                setting.tell(f"sqlite, echo over {sockets}: {said}")
                stack.settle()
        soon = idle_shares(stack, 1, QUIET_AFTER)
        shares = idle_shares(stack, setting.rounds)
    table = [
        HEADS,
        row("echo, 1 socket, p50", middle(each["p50"] for each in echoes[1]), time_text, most=LONGEST),
        row("the same, p99", middle(each["p99"] for each in echoes[1]), time_text),
        row("echo, 50 sockets", middle(map(per_second, echoes[50])), rate_text, least=LEAST_RATE),
        row("the same, p99", middle(each["p99"] for each in echoes[50]), time_text),
    ]
    for role, idle in shares.items():
        table.append(row(f"idle {role}, of one processor", middle(idle), share, most=LARGEST_SHARE))
        table.append(row(f"the same, first {QUIET_AFTER:.0f} s", middle(soon[role]), share))
    return Section("sqlite layer", TEXT, table, {"echo": echoes, "idle": shares, "idle at first": soon})
