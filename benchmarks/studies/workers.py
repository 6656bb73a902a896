"""Four worker processes: how fully slow consumers use them, and what quick messages notice of slow ones."""

from __future__ import annotations

from typing import Any

from ..clients import Client, once
from ..figures import HEADS, middle, per_second, rate_text, row, share, time_text
from ..peers import ours
from ..report import Section, Setting
from ..stack import Stack

PROCESSES = 4
THREADS = 4
"""Of each process, by default."""

SLOW_SECONDS = 0.02
"""Time that the consumer of ``/slow/`` sleeps, see the project's ``functions.py``."""

SOCKETS = 200
BUSY = PROCESSES * THREADS // 2
QUICK = 4
LEAST_SHARE = 0.9

TEXT = f"""\
{PROCESSES} worker processes with their default of {THREADS} threads each (`runworker --processes {PROCESSES}`),
and a consumer that sleeps {SLOW_SECONDS * 1000:.0f} ms and echoes. {SOCKETS} sockets keep one frame each on its
way: more than there are threads, so what is left of {PROCESSES} × {THREADS} / {SLOW_SECONDS * 1000:.0f} ms =
{PROCESSES * THREADS / SLOW_SECONDS:.0f}/s is lost between two messages of a thread.

Then {QUICK} sockets echo through the quick consumer alone, and again beside {BUSY} sockets that keep half of
all threads in the slow one. Whatever a quick message waits for more there, it waits behind slow ones, or for
the processors."""


def study(setting: Setting) -> Section:
    """Measure both; see `TEXT`."""
    full: list[dict[str, Any]] = []
    alone: list[dict[str, Any]] = []
    beside: list[dict[str, Any]] = []
    with Stack(ours(processes=PROCESSES)) as stack:

        def echo(path: str, sockets: int, seconds: float = setting.seconds) -> dict[str, Any]:
            return once(stack, "echo", path=path, sockets=sockets, seconds=seconds)

        echo("/slow/", SOCKETS, 2.0)  # all processes are up after this
        for _ in range(setting.rounds):
            full.append(echo("/slow/", SOCKETS))
            alone.append(echo("/echo/", QUICK))
            with Client(stack, "echo", path="/slow/", sockets=BUSY, seconds=setting.seconds + 1.5) as slow:
                slow.go()
                beside.append({**echo("/echo/", QUICK), "slow": slow.result()})
            quick = f"{time_text(alone[-1]['p99'])} alone, {time_text(beside[-1]['p99'])} beside slow ones"
            setting.tell(f"workers, all slow: {rate_text(per_second(full[-1]))}, quick p99: {quick}")
            stack.settle()
    what = f"slow consumers, {SOCKETS} sockets, of what the threads can do"
    table = [
        HEADS,
        row(what, middle(map(usage, full)), share, least=LEAST_SHARE),
        row("the same, rate", middle(map(per_second, full)), rate_text),
    ]
    for what, rounds in (("the same", full), ("quick echo alone", alone), (f"beside {BUSY} slow ones", beside)):
        for mark in ("p50", "p99"):
            table.append(row(f"{what}, {mark}", middle(each[mark] for each in rounds), time_text))
    return Section("Many workers", TEXT, table, {"slow": full, "quick": alone, "quick beside slow": beside})


def usage(measured: dict[str, Any]) -> float:
    """The share of what all threads together could do."""
    return per_second(measured) / (PROCESSES * THREADS / SLOW_SECONDS)
