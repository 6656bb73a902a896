"""The events of one connection as they come, asked of its web server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from channel_layer.layer import ChannelLayer
from channel_layer.reports import Report

from .asking import AskingError, ask

KEPT: Final = 10
"""Events that a web server keeps of a connection."""


class Event(NamedTuple):
    """An event of a connection: seconds after 1970, a word, and a size."""

    at: float
    word: str
    size: int


class ConnectionTail:
    """The news of one connection. Its web server keeps events from the first question on, at the latest.

    Args:
        layer: any channel layer.
        server: report of the web server.
        name: of the connection.

    Attributes:
        has_gap: whether there may have been more events before the last look than it found.

    Raises:
        AskingError: the connection is closed, or the server does not answer.
    """

    def __init__(self, layer: ChannelLayer, server: Report, name: str) -> None:
        self._layer = layer
        self._server = server
        self._name = name
        self.has_gap = False
        self._last: Event | None = None
        self.look()

    def look(self) -> list[Event]:
        """Ask for the events since the look before, oldest first; raises `AskingError` once there will be no more."""
        answers = ask(self._layer, [self._server], "connection", name=self._name)
        if answers.problems:
            raise AskingError(answers.problems[0])
        row = answers.pages[self._server.name][0].get("row")
        if not isinstance(row, Mapping):
            raise AskingError(f"{self._server.name} has no connection {self._name}; it is closed")
        return self._news([Event(*event) for event in row.get("events") or ()])

    def _news(self, events: Sequence[Event]) -> list[Event]:
        known = [place for place, event in enumerate(events) if event == self._last]
        found = list(events[known[-1] + 1 :] if known else events)
        self.has_gap = not known and len(events) >= KEPT
        self._last = events[-1] if events else self._last
        return found


def for_machines(event: Event) -> dict[str, Any]:
    """An event as an object."""
    return {"at": round(event.at, 3), "event": event.word, "size": event.size}
