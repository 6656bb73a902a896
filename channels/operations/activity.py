"""The activity of a system: differences between the reports of its processes and those before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from channel_layer.facts import BOUNDS, is_alive, number, numbers, part
from channel_layer.reports import Report

SAME_SECONDS: Final = 0.5
"""Age by which two looks at one report may differ: it goes by the broker's clock and the time an answer takes."""

SHARE: Final = 0.95
"""Part of all durations that are no longer than `Pace.most`."""


@dataclass
class Pace:
    """Events of one kind, since the report before.

    Attributes:
        per_second: how many.
        failed: how many of these a second came to nothing.
        counts: numbers of their durations, by range; ``total``: seconds of all of them.
    """

    per_second: float = 0.0
    failed: float = 0.0
    counts: list[float] = field(default_factory=lambda: [0.0] * (len(BOUNDS) + 1))
    total: float = 0.0

    @property
    def mean(self) -> float | None:
        """Seconds on the average."""
        return self.total / sum(self.counts) if sum(self.counts) else None

    @property
    def most(self) -> float | None:
        """Seconds that `SHARE` of them did not exceed: the upper end of the range, infinite for the last."""
        left = SHARE * sum(self.counts)
        if not left:
            return None
        for bound, count in zip((*BOUNDS, float("inf")), self.counts, strict=True):
            left -= count
            if left <= 1e-9:
                return bound
        raise AssertionError("the ranges have all durations")

    def as_json(self) -> dict[str, float | None]:
        """The same for machines; ``most`` is ``None`` where it is beyond the last range."""
        most = self.most
        return {
            "per_second": round(self.per_second, 3),
            "failed_per_second": round(self.failed, 3),
            "mean_seconds": self.mean,
            "most_seconds": None if most == float("inf") else most,
        }


@dataclass
class Activity:
    """The pace of everything.

    Attributes:
        requests: that web servers answered; ``turns``: frames and handshakes, with the time until their turn ended.
        deliveries: through groups.
        messages: whose consumers ended.
        channels: messages that workers took, by channel, with the time that they had waited there.
        consumers: runs of consumers by name, with their time.
    """

    requests: Pace = field(default_factory=Pace)
    turns: Pace = field(default_factory=Pace)
    deliveries: Pace = field(default_factory=Pace)
    messages: Pace = field(default_factory=Pace)
    channels: dict[str, Pace] = field(default_factory=lambda: defaultdict(Pace))
    consumers: dict[str, Pace] = field(default_factory=lambda: defaultdict(Pace))

    def slowest(self) -> list[tuple[str, Pace]]:
        """The consumers that have run, those that take longest first."""
        ran = [(name, pace) for name, pace in self.consumers.items() if pace.per_second]
        return sorted(ran, key=lambda pair: (-(pair[1].mean or 0), pair[0]))

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "requests": self.requests.as_json(),
            "turns": self.turns.as_json(),
            "deliveries": self.deliveries.as_json(),
            "messages": self.messages.as_json(),
            "channels": {name: pace.as_json() for name, pace in sorted(self.channels.items())},
            "consumers": {name: pace.as_json() for name, pace in self.slowest()},
        }


class History:
    """The last two reports of each process."""

    def __init__(self) -> None:
        self._latest: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self._before: dict[str, tuple[float, Mapping[str, Any]]] = {}

    @property
    def is_complete(self) -> bool:
        """True if some process has reported twice."""
        return bool(self._before)

    def add(self, reports: Iterable[Report], now: float) -> Activity:
        """Take in the reports of a moment; returns what has happened between the last two of each process.

        Args:
            now: seconds, by any clock that does not jump.
        """
        activity = Activity()
        alive = [report for report in reports if is_alive(report)]
        for known in (self._latest, self._before):
            for gone in known.keys() - {report.name for report in alive}:
                del known[gone]
        for report in alive:
            made = now - report.age
            latest = self._latest.get(report.name)
            if latest is None:
                self._latest[report.name] = made, report.content
            elif made - latest[0] > SAME_SECONDS:
                self._before[report.name], self._latest[report.name] = latest, (made, report.content)
            if report.name in self._before:
                _add(activity, self._before[report.name], self._latest[report.name])
        return activity


def _add(activity: Activity, before: tuple[float, Mapping[str, Any]], latest: tuple[float, Mapping[str, Any]]) -> None:
    """Add what one process did between two reports."""
    seconds, old, new = latest[0] - before[0], before[1], latest[1]

    def more(*keys: str) -> float:
        """The growth of a number; a process that begins anew under its name counts from 0."""
        now, then = number(new, *keys), number(old, *keys)
        return (now - then if now >= then else now) / seconds

    for pace, keys in ((activity.requests, ("request_seconds",)), (activity.turns, ("turn_seconds",))):
        _add_times(pace, part(old, *keys), part(new, *keys), seconds)
    activity.deliveries.per_second += more("deliveries")
    for channel in part(new, "messages"):
        for outcome in numbers(new, "messages", channel):
            activity.messages.per_second += more("messages", channel, outcome)
            if outcome in ("failed", "dropped"):
                activity.messages.failed += more("messages", channel, outcome)
    for channel in part(new, "waited"):
        _add_times(activity.channels[channel], part(old, "waited", channel), part(new, "waited", channel), seconds)
    for name in part(new, "consumers"):
        pace = activity.consumers[name]
        path = ("consumers", name, "seconds")
        _add_times(pace, part(old, *path), part(new, *path), seconds)
        pace.failed += sum(more("consumers", name, "outcomes", outcome) for outcome in ("failed", "dropped"))


def _add_times(pace: Pace, old: Mapping[str, Any], new: Mapping[str, Any], seconds: float) -> None:
    """Add the growth of a histogram. One with other ranges, of another version, is left out."""
    now, then = _counts(new), _counts(old) or [0.0] * len(pace.counts)
    if len(now) != len(pace.counts) or len(then) != len(now):
        return
    total = number(new, "sum") - number(old, "sum")
    if sum(now) < sum(then):  # it has begun anew
        then, total = [0.0] * len(now), number(new, "sum")
    grown = [max(0.0, a - b) for a, b in zip(now, then, strict=True)]
    pace.counts = [a + b for a, b in zip(pace.counts, grown, strict=True)]
    pace.total += max(0.0, total)
    pace.per_second += sum(grown) / seconds


def _counts(histogram: Mapping[str, Any]) -> Sequence[float]:
    found = histogram.get("counts")
    return found if isinstance(found, list) and all(isinstance(count, (int, float)) for count in found) else []
