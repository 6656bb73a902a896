"""Four worker processes: how fully slow consumers use them, and what quick messages notice of slow ones."""

from __future__ import annotations

from typing import Any

from ..clients import Client, once
from ..peers import ours
from ..section import Section, Setting
from ..stack import Stack
from .rows import HEADS, at_least, known, middle, milliseconds, per_second, rate, share

PROCESSES = 4
THREADS = 4
"""Of each process, by default."""

SLOW_SECONDS = 0.02
"""Time that the consumer of ``/slow/`` sleeps, see the project's ``studies.py``."""

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
        once(stack, "echo", path="/slow/", sockets=SOCKETS, seconds=2.0)  # all processes are up after this
        for _ in range(setting.rounds):
            full.append(once(stack, "echo", path="/slow/", sockets=SOCKETS, seconds=setting.seconds))
            setting.tell(f"workers, all slow: {rate(per_second(full[-1]))}")
            alone.append(once(stack, "echo", path="/echo/", sockets=QUICK, seconds=setting.seconds))
            with Client(stack, "echo", path="/slow/", sockets=BUSY, seconds=setting.seconds + 1.5) as slow:
                slow.go()
                beside.append(once(stack, "echo", path="/echo/", sockets=QUICK, seconds=setting.seconds))
                beside[-1]["slow"] = slow.result()
            setting.tell(f"workers, quick p99: {milliseconds(alone[-1]['p99'])} alone, "
                         f"{milliseconds(beside[-1]['p99'])} beside slow ones")  # fmt: skip
            stack.settle()
    table = [
        HEADS,
        at_least(
            f"slow consumers, {SOCKETS} sockets, of what the threads can do",
            middle(map(usage, full)),
            LEAST_SHARE,
            share,
        ),
        known("the same, rate", middle(map(per_second, full)), rate),
        known("the same, p50", middle(each["p50"] for each in full), milliseconds),
        known("the same, p99", middle(each["p99"] for each in full), milliseconds),
        known("quick echo alone, p50", middle(each["p50"] for each in alone), milliseconds),
        known("quick echo alone, p99", middle(each["p99"] for each in alone), milliseconds),
        known(f"beside {BUSY} slow ones, p50", middle(each["p50"] for each in beside), milliseconds),
        known(f"beside {BUSY} slow ones, p99", middle(each["p99"] for each in beside), milliseconds),
    ]
    return Section("Many workers", TEXT, table, {"slow": full, "quick": alone, "quick beside slow": beside})


def usage(measured: dict[str, Any]) -> float:
    """The share of what all threads together could do."""
    return per_second(measured) / (PROCESSES * THREADS / SLOW_SECONDS)
