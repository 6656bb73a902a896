"""An overview of a running system, read from the reports of its processes and from the layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from channel_layer.exceptions import LayerUnavailable, clause
from channel_layer.facts import FORMAT, is_alive, listening, number, numbers, part, texts, verdict
from channel_layer.layer import ChannelLayer
from channel_layer.metrics import MOST_CHANNELS, OF_SERVERS
from channel_layer.reports import REPORTS, Report

from .reaching import in_time

MAX_WAIT = 10.0
"""Time for which a message may wait by default."""

HUNG_SECONDS = 60.0
"""Time in one consumer from which something is wrong with it."""


class NoReportsError(Exception):
    """The layer keeps no reports; the text is one sentence."""


@dataclass
class Overview:
    """A system as its reports and its layer show it.

    Attributes:
        problems: sentences, the worst first.
        reports: of all processes, those in trouble first.
        channels: statistics of each channel, by name.
        away: the reason why the layer cannot be reached.
    """

    problems: list[str] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    channels: dict[str, Mapping[str, float]] = field(default_factory=dict)
    away: str = ""

    def summary(self) -> str:
        """The processes that work, in a few words."""
        kinds = [report.content.get("kind") for report in self.reports if is_alive(report)]
        web, workers = kinds.count("web"), kinds.count("worker")
        return f"{web} web server{'s' * (web != 1)}, {workers} worker{'s' * (workers != 1)}"

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "ok": not self.problems,
            "problems": self.problems,
            "processes": [process_as_json(report) for report in self.reports],
            "channels": {name: dict(counts) for name, counts in self.channels.items()},
        }


def overview(layer: ChannelLayer, max_wait: float = MAX_WAIT) -> Overview:
    """Look at a system, and judge what is seen.

    Raises:
        NoReportsError: the layer lacks the extension.
    """
    if REPORTS not in layer.extensions:
        raise NoReportsError(
            f"the channel layer {layer.describe()} keeps no reports of processes (it lacks the extension {REPORTS!r}); "
            "use the redis, sqlite or postgres layer"
        )
    found = Overview()
    try:
        found.reports = sorted(in_time(layer, layer.reports), key=_order)
        found.channels = _channels(layer, found.reports)
    except LayerUnavailable as error:
        found.away = clause(error)
        found.problems = [found.away]
        return found
    found.problems = [*_of_processes(found.reports), *_of_channels(found.channels, found.reports, max_wait)]
    return found


def process_as_json(report: Report) -> dict[str, Any]:
    """The report of a process, and what is known of it besides, for machines."""
    return {**report.content, "name": report.name, "age": report.age, "verdict": verdict(report)}


def where(report: Report) -> str:
    """Name and place of a process, in a sentence."""
    content = report.content
    return (
        f"{content.get('kind', 'process')} {report.name} on {content.get('host', '?')} (pid {content.get('pid', '?')})"
    )


def _order(report: Report) -> tuple[int, str, str]:
    states = ["lost", "draining", "running", "ended"]
    return states.index(verdict(report)), str(report.content.get("kind")), report.name


def _channels(layer: ChannelLayer, reports: Iterable[Report]) -> dict[str, Mapping[str, float]]:
    names = {name for report in reports if is_alive(report) for name in texts(report.content, "channels")}
    asked = sorted(names | set(OF_SERVERS))[:MOST_CHANNELS]
    return {name: layer.channel_statistics(name) for name in asked} if "statistics" in layer.extensions else {}


def _of_processes(reports: Sequence[Report]) -> Iterable[str]:
    for report in reports:
        if verdict(report) == "lost":
            yield f"{where(report)} is lost: its last report is {report.age:.0f} seconds old"
    alive = [report for report in reports if is_alive(report)]
    for kind, what in (("web", "no web server reports"), ("worker", "no worker reports")):
        if all(report.content.get("kind") != kind for report in alive):
            yield what
    for report in alive:
        if part(report.content, "layer").get("up") is False:
            yield f"{where(report)} does not get messages from the channel layer"
        if number(report.content, "busy_seconds") > HUNG_SECONDS:
            yield f"{where(report)} has been in one consumer for {number(report.content, 'busy_seconds'):.0f} seconds"
        if report.content.get("format") != FORMAT:
            yield f"{where(report)} reports in another format, of which a part is not understood; update one of the two"


def _of_channels(
    channels: Mapping[str, Mapping[str, float]], reports: Iterable[Report], max_wait: float
) -> Iterable[str]:
    heard = listening(reports)
    for name, counts in channels.items():
        waiting, oldest = number(counts, "messages_pending"), number(counts, "messages_max_age")
        wait = "1 message waits" if waiting == 1 else f"{waiting:.0f} messages wait"
        if waiting and name not in heard:
            yield f"{wait} on {name}, and no worker listens there"
        elif waiting and oldest > max_wait:
            yield f"{wait} on {name}, the oldest for {oldest:.1f} seconds"


def lost_messages(content: Mapping[str, Any]) -> dict[str, float]:
    """Messages that a process has dropped or lost, by reason."""
    return {reason: count for reason, count in numbers(content, "layer", "lost").items() if count}
