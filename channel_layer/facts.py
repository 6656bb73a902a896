"""Facts about a process, as it counts them and as its report carries them.

A report is a dict (`channel_layer.reports`). What every one of them has:

=============  =======================================================================================
``format``     `FORMAT`. A reader takes what it understands of a report of another format.
``kind``       ``web`` or ``worker``
``host``       name of the machine, ``pid`` of the process, ``version`` of this distribution
``started``    when the process began to work, in seconds after 1970
``every``      seconds between two reports
``state``      ``running``, ``draining`` (it is about to end and takes nothing new), or ``ended``
``parent``     process ID of the supervisor, if there is one
``bounds``     upper ends of the ranges of all histograms, in seconds; the last range has no end
``questions``  `channel_layer.questions.FORMAT` of a process that answers operators
``layer``      ``lost``: messages that this process alone dropped or lost, by reason
=============  =======================================================================================

The rest is said where it is counted: `interface_server.facts` and `workers.facts`. Counts begin with the process and
only grow. A histogram is ``{"counts": [...], "sum": seconds}``, with a count for each range.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import socket
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from .layer import Counters
from .reports import Report

DISTRIBUTION: Final = "django-millrace"

FORMAT: Final = 1
"""Raised when a reader of the one before would misunderstand something. What is added does not raise it."""

REPORT_SECONDS: Final = 2.0
"""Time between two reports of a process."""

LOST_SECONDS: Final = 10.0
"""Age from which the report of a process that did not say its end means that it is gone, or cannot reach the layer."""

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper ends of the ranges of all histograms, in seconds."""

MOST_NAMES: Final = 100
"""Different names in one table of counts: a client chooses some of them. Further ones are counted together."""

OTHER: Final = "(other)"
"""The name under which they are."""

State = Literal["running", "draining", "ended"]

Verdict = Literal["running", "draining", "ended", "lost"]
"""The state of a process, going by its last report and the age of that."""


class Histogram:
    """Number and sum of durations, by fixed ranges.

    The bounds are the same for all processes, so that they can be added. Threads may share one: in CPython nothing
    comes between the reading and the writing of a count, as no call does.
    """

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        at = bisect_left(BOUNDS, seconds)
        self.counts[at] += 1
        self.sum += seconds

    def content(self) -> dict[str, Any]:
        """The histogram as a report carries it."""
        return {"counts": list(self.counts), "sum": self.sum}


class Counts(dict[str, int]):
    """Number of events by name, of at most `MOST_NAMES` names."""

    __slots__ = ()

    def add(self, name: str, number: int = 1) -> None:
        """Count events."""
        if name not in self and len(self) >= MOST_NAMES:
            name = OTHER
        self[name] = self.get(name, 0) + number


@functools.cache
def version() -> str:
    """Version of this distribution; empty if it runs without being installed."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return ""


class Identity:
    """The part of a report that says whose it is.

    Args:
        kind: of process.
        parent: process ID of its supervisor.
    """

    def __init__(self, kind: str, parent: int | None = None) -> None:
        self._content = {
            "format": FORMAT,
            "kind": kind,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": version(),
            "started": time.time(),
            "every": REPORT_SECONDS,
            "bounds": list(BOUNDS),
        }
        if parent is not None:
            self._content["parent"] = parent

    def content(self, state: State) -> dict[str, Any]:
        """The identity as a report carries it."""
        return {**self._content, "state": state}


def lost_by_layer(counters: Counters) -> dict[str, int]:
    """Messages that a layer object dropped or lost, by the names that reports have for the reasons."""
    return {
        "expired": counters.expired,
        "unreadable": counters.bad_frames,
        "connection lost": counters.possible_losses,
        "group member full": counters.group_full,
    }


def verdict(report: Report) -> Verdict:
    """Tell the state of a process."""
    state = report.content.get("state")
    if state == "ended":
        return "ended"
    if report.age > LOST_SECONDS:
        return "lost"
    return "draining" if state == "draining" else "running"


def is_alive(report: Report) -> bool:
    """True if the process works, as far as can be known."""
    return verdict(report) in ("running", "draining")


def part(content: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """A table inside a report, by the keys that lead to it; empty if the report has none there."""
    found: object = content
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def numbers(content: Mapping[str, Any], *keys: str) -> dict[str, float]:
    """The numbers in such a table, by their names."""
    return {
        str(name): value
        for name, value in part(content, *keys).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def number(content: Mapping[str, Any], *keys: str) -> float:
    """One number of a report; 0 if it is not there."""
    *path, last = keys
    return numbers(content, *path).get(last, 0)


def texts(content: Mapping[str, Any], key: str) -> list[str]:
    """A list of texts of a report."""
    found = content.get(key)
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []


def listening(reports: Iterable[Report]) -> set[str]:
    """Channels on which a worker listens that takes messages."""
    return {
        channel
        for report in reports
        if report.content.get("kind") == "worker" and verdict(report) == "running"
        for channel in texts(report.content, "channels")
    }
