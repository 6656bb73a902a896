"""Questions to processes through the layer, and their answers; see `channel_layer.questions`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from channel_layer.exceptions import LayerUnavailable, clause
from channel_layer.facts import is_alive
from channel_layer.layer import ChannelLayer
from channel_layer.names import split
from channel_layer.questions import ANSWERS, FORMAT, PATIENCE, channel_for, question
from channel_layer.reports import REPORTS, Report

MOST_SECONDS = 60.0
"""Time after which an answer is not waited for any longer, even if pages still come."""

BATCH = 16


class AskingError(Exception):
    """Nobody can be asked; the text is one sentence."""


class LayerAwayError(AskingError):
    """Nobody can be asked because the channel layer cannot be reached."""


@dataclass
class Answers:
    """The pages of several processes.

    Attributes:
        pages: by the name of the process, in order.
        problems: sentences on those that said nothing, or not all.
    """

    pages: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        """Connections of all pages."""
        return [dict(row) for pages in self.pages.values() for page in pages for row in page.get("rows") or ()]

    def count(self) -> int:
        """The number that each process gave, added up."""
        return sum(int(page.get("count") or 0) for pages in self.pages.values() for page in pages)


def web_servers(layer: ChannelLayer) -> list[Report]:
    """Reports of the web servers that run.

    Raises:
        AskingError: the layer lacks reports, cannot be reached, or has none of a web server.
    """
    found = [report for report in processes(layer) if report.content.get("kind") == "web"]
    if not found:
        raise AskingError("no web server reports, so there is nobody to ask; start daphne on this channel layer")
    return found


def processes(layer: ChannelLayer) -> list[Report]:
    """Reports of all processes that run, or may do so; raises `AskingError` as `web_servers` does."""
    if REPORTS not in getattr(layer, "extensions", ()):
        raise AskingError(
            f"the channel layer {layer.describe()} keeps no reports of processes (it lacks the extension {REPORTS!r}), "
            "so nobody knows whom to ask; use the redis, sqlite or postgres layer"
        )
    try:
        return [report for report in layer.reports() if is_alive(report)]
    except LayerUnavailable as error:
        raise LayerAwayError(clause(error)) from error


def named(layer: ChannelLayer, name: str) -> Report:
    """The report of the process with a name; raises `AskingError`, with the names that there are."""
    found = processes(layer)
    for report in found:
        if report.name == name:
            return report
    others = ", ".join(sorted(report.name for report in found)) or "none, for no process reports"
    raise AskingError(f"no process {name} reports; there are: {others}")


def server_of(layer: ChannelLayer, connection: str) -> Report:
    """The report of the web server that has a connection; raises `AskingError`."""
    reader, local = split(connection)
    if not local:
        raise AskingError(
            f"{connection!r} is not the name of a connection, which is like daphne.x!y; "
            "manage.py millrace connections lists them"
        )
    return named(layer, reader.rstrip("!"))


def ask(layer: ChannelLayer, asked: Iterable[Report], what: str, **content: object) -> Answers:
    """Ask processes, and wait for all of them. One that says nothing for `PATIENCE` seconds is given up.

    Raises:
        AskingError: the layer cannot be reached.
    """
    asking = Asking(layer, asked, what, content)
    try:
        asking.begin(layer.send_batch)
        while (seconds := asking.remaining()) > 0:
            for delivery in layer.receive_batch([asking.channel], BATCH, seconds):
                asking.hear(delivery.message)
    except LayerUnavailable as error:
        raise LayerAwayError(clause(error)) from error
    return asking.finish()


class Asking:
    """One question to several processes, without the waiting.

    Args:
        layer: any channel layer.
        asked: reports of the processes.
        what, content: of the question.

    Attributes:
        channel: on which answers come.
    """

    def __init__(self, layer: ChannelLayer, asked: Iterable[Report], what: str, content: Mapping[str, object]) -> None:
        self.channel = layer.new_channel(ANSWERS)
        self._layer = layer
        self._asked = list(asked)
        self._what = what
        self._content = content
        self._answers = Answers()
        self._waiting: dict[str, float] = {}
        self._until = time.monotonic() + MOST_SECONDS

    def begin(self, send: Callable[[list[Any]], list[Any]]) -> None:
        """Send the question to those that understand it."""
        items = {}
        for report in self._asked:
            if report.content.get("questions") is None:
                self._answers.problems.append(f"{report.name} is of a version that answers no questions; update it")
                continue
            message = question(self._what, self.channel, self._content)
            item = self._layer.prepare(channel_for(report.content.get("kind"), report.name), message)
            items[item.target] = report.name, item
        refused = {item.target for item in send([item for _, item in items.values()])} if items else set()
        now = time.monotonic()
        for target, (name, _) in items.items():
            if target in refused:
                self._answers.problems.append(f"{name} takes no questions: too many messages wait for it")
            else:
                self._waiting[name] = now + PATIENCE

    def remaining(self) -> float:
        """Seconds to wait for the next page; 0 when there is none to come."""
        now = time.monotonic()
        for name in [name for name, until in self._waiting.items() if until <= now]:
            del self._waiting[name]
            what = "did not answer" if name not in self._answers.pages else "did not finish its answer"
            self._answers.problems.append(f"{name} {what} within {PATIENCE:g} seconds")
        return max(0.0, min([*self._waiting.values(), self._until]) - now) if self._waiting else 0.0

    def hear(self, page: Mapping[str, Any]) -> None:
        """Take a page."""
        name = str(page.get("process"))
        if name not in self._waiting:
            return
        self._waiting[name] = time.monotonic() + PATIENCE
        if page.get("format") != FORMAT:
            sentence = f"{name} answers in format {page.get('format')}, not {FORMAT}; update one of the two"
            self._answers.problems.append(str(page.get("error") or sentence))
        elif page.get("error"):
            self._answers.problems.append(str(page["error"]))
        else:
            self._answers.pages.setdefault(name, []).append(page)
            if not page.get("last"):
                return
        del self._waiting[name]

    def finish(self) -> Answers:
        """Return the answers, with those who said nothing among the problems."""
        for name in self._waiting:
            self._answers.problems.append(f"{name} did not finish its answer within {MOST_SECONDS:g} seconds")
        return self._answers
