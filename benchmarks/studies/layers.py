"""Layers beside Redis: echoes over a file or a database, and what waiting for them costs."""

from __future__ import annotations

import os
from typing import Any

from ..clients import once
from ..environments import MissingError
from ..figures import HEADS, middle, per_second, rate_text, row, share, time_text
from ..peers import ours
from ..report import Section, Setting
from ..stack import Stack
from .idle import SECONDS, idle_shares

LARGEST_SHARE = 0.01

QUIET_AFTER = 6.0
"""Seconds after the last message: by then a process that waits for a file looks for the next one less often."""

TEXT = """\
One interface server and one worker over the {layer} layer, both with their defaults: echoes of 100 bytes over 1
and over 50 sockets. Then nothing happens, and the CPU time of both processes is read over the first
{soon:.0f} s and over the {later:.0f} s after these, which is what waiting costs."""


def sqlite(setting: Setting) -> Section:
    """Measure the layer that needs no server; see `TEXT`."""
    return _study(setting, "sqlite", longest=0.0025, least_rate=8_000)


def postgres(setting: Setting) -> Section:
    """Measure the layer over the database that ``BENCH_POSTGRES_DSN`` names; see `TEXT`."""
    if "BENCH_POSTGRES_DSN" not in os.environ:
        raise MissingError("set BENCH_POSTGRES_DSN to a PostgreSQL database for the tables of the layer under test")
    return _study(setting, "postgres", longest=0.003, least_rate=4_000)


def _study(setting: Setting, layer: str, longest: float, least_rate: float) -> Section:
    echoes: dict[int, list[dict[str, Any]]] = {1: [], 50: []}
    with Stack(ours(layer=layer)) as stack:
        for sockets, rounds in echoes.items():
            once(stack, "echo", path="/echo/", sockets=sockets, seconds=1.0)
            for _ in range(setting.rounds):
                rounds.append(once(stack, "echo", path="/echo/", sockets=sockets, seconds=setting.seconds))
                said = f"{time_text(rounds[-1]['p50'])}, {rate_text(per_second(rounds[-1]))}"
                setting.tell(f"{layer}, echo over {sockets}: {said}")
                stack.settle()
        soon = idle_shares(stack, 1, QUIET_AFTER)
        shares = idle_shares(stack, setting.rounds)
    table = [
        HEADS,
        row("echo, 1 socket, p50", middle(each["p50"] for each in echoes[1]), time_text, most=longest),
        row("the same, p99", middle(each["p99"] for each in echoes[1]), time_text),
        row("echo, 50 sockets", middle(map(per_second, echoes[50])), rate_text, least=least_rate),
        row("the same, p99", middle(each["p99"] for each in echoes[50]), time_text),
    ]
    for role, idle in shares.items():
        table.append(row(f"idle {role}, of one processor", middle(idle), share, most=LARGEST_SHARE))
        table.append(row(f"the same, first {QUIET_AFTER:.0f} s", middle(soon[role]), share))
    text = TEXT.format(layer=layer, soon=QUIET_AFTER, later=SECONDS)
    return Section(f"{layer} layer", text, table, {"echo": echoes, "idle": shares, "idle at first": soon})
