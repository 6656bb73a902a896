"""``manage.py millrace tail``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from channel_layer import names
from channel_layer.facts import is_alive
from channel_layer.inspection import INSPECTION, Waiting
from channel_layer.layer import ChannelLayer
from channel_layer.reports import Report

from ..management.working import add_layer_option
from .arguments import seconds
from .asking import AskingError, LayerAwayError
from .channel import only_for, reader_of
from .connection import clock
from .connection_tail import ConnectionTail, Event
from .connection_tail import for_machines as event_for_machines
from .contents import for_machines, in_words
from .reaching import AWAY, USAGE, WRONG, need, reached
from .tables import ended_quietly, plural, printable

HELP = (
    "Follows what is sent on a channel until Ctrl-C, by a look ten times a second, and takes nothing. What is taken by "
    "its reader between two looks is counted and not shown. Of a connection its web server is asked for the events."
)

LOOK_SECONDS: Final = 0.1
"""Time between two looks. Nobody else does anything for them, so nothing is slower while nobody follows."""

MOST: Final = 100
"""Messages that one look shows."""

ASK_SECONDS: Final = 0.2
"""Time between two questions about a connection to its web server."""

GAP: Final = "some events came between two looks and are not shown"

pause = time.sleep
"""Waits for the next look."""

REMEMBERED: Final = 20 * MOST
"""Messages that are not shown again if they are put back to their channel."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the options."""
    parser.add_argument("channel", metavar="NAME", help="name of the channel, or of a connection")
    parser.add_argument("--content", action="store_true", help="show all that the messages say")
    parser.add_argument("--seconds", type=seconds, metavar="N", help="end after so many seconds")
    add_layer_option(parser)
    parser.add_argument("--json", action="store_true", help="print an object in a line for each message")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Look again and again, and print."""
    name = options["channel"]
    with reached(options["layer"]) as (layer, reports), ended_quietly(command):
        reader = reader_of(name)
        server = next((report for report in reports if is_server(report, reader)), None)
        if server is not None and name != reader:
            _follow_connection(command, options, layer, server)
        else:
            _follow_channel(command, options, layer)


def is_server(report: Report, reader: str) -> bool:
    """True of a web server that has the connections with this name up to ``!``, and can be asked about them."""
    answers = report.content.get("kind") == "web" and report.content.get("questions") is not None
    return answers and is_alive(report) and report.name + "!" == reader


def _times(options: dict[str, Any], every: float) -> Iterator[None]:
    """Come again and again with a pause in between, for as long as was asked for."""
    until = time.monotonic() + (options["seconds"] or float("inf"))
    while (left := until - time.monotonic()) > 0:
        yield
        pause(min(every, left))


def _follow_channel(command: BaseCommand, options: dict[str, Any], layer: ChannelLayer) -> None:
    need(layer, INSPECTION, "be looked into")
    tail = Tail(layer, options["channel"])
    told = 0
    for _ in _times(options, LOOK_SECONDS):
        for waiting in tail.look():
            _show(command, options, waiting)
        if tail.unseen > told:
            _count(command, options, tail.unseen - told, tail.unseen)
            told = tail.unseen
        command.stdout.flush()


def _follow_connection(command: BaseCommand, options: dict[str, Any], layer: ChannelLayer, server: Report) -> None:
    if options["content"]:
        raise CommandError("--content is for channels: what a connection sends is kept nowhere", returncode=USAGE)
    try:
        tail = ConnectionTail(layer, server, options["channel"])
    except AskingError as error:
        raise CommandError(str(error), returncode=AWAY if isinstance(error, LayerAwayError) else WRONG) from error
    try:
        for _ in _times(options, ASK_SECONDS):
            events = tail.look()
            if tail.has_gap:
                command.stdout.write(json.dumps({"gap": True}) if options["json"] else command.style.WARNING(GAP))
            for event in events:
                _show_event(command, options, event)
            command.stdout.flush()
    except LayerAwayError as error:
        raise CommandError(str(error), returncode=AWAY) from error
    except AskingError as error:  # closed, as a rule: there is no more to follow
        command.stderr.write(str(error))


class Tail:
    """The news of one channel.

    Args:
        layer: with the extensions ``inspection`` and ``statistics``.
        name: of the channel. What waits there already is left out.

    Attributes:
        unseen: number of messages that were sent and are gone before a look found them, as far as that is counted:
            not for the channels of one process or reader.

    Raises:
        InvalidName: of the channel.
    """

    def __init__(self, layer: ChannelLayer, name: str) -> None:
        self._layer = layer
        self._name = name
        self._reader = reader_of(name)
        self._counts = not self._reader.endswith("!") and names.family(self._reader) == self._reader
        self._sent = self._count()
        self._balance = 0
        self._known = dict.fromkeys(waiting.mark for waiting in self._newest())
        self.unseen = 0

    def look(self) -> list[Waiting]:
        """The messages that have come since the look before, oldest first."""
        # The count first: what is stored after it and found is ahead of the count, and never counts as unseen.
        sent = self._count()
        if self._counts:
            if sent == self._sent:
                return []
            self._balance += sent - self._sent if sent > self._sent else sent
            self._sent = sent
        found = [waiting for waiting in self._newest() if waiting.mark not in self._known]
        self._known.update(dict.fromkeys(waiting.mark for waiting in found))
        for mark in list(self._known)[: max(0, len(self._known) - REMEMBERED)]:
            del self._known[mark]
        self._balance -= len(found)
        self.unseen = max(self.unseen, self._balance)
        return only_for(self._name, found)

    def _newest(self) -> list[Waiting]:
        return self._layer.peek(self._reader, MOST, newest=True)

    def _count(self) -> int:
        return int(self._layer.channel_statistics(self._reader)["messages_count"]) if self._counts else 0


def _show(command: BaseCommand, options: dict[str, Any], waiting: Waiting) -> None:
    at = time.time() - waiting.age
    if options["json"]:
        command.stdout.write(json.dumps({"at": round(at, 3), **for_machines(waiting, options["content"])}))
    else:
        clock = time.strftime("%H:%M:%S", time.localtime(at)) + f"{at % 1:.2f}"[1:]
        command.stdout.write(f"{clock}  {in_words(waiting, options['content'])}")


def _show_event(command: BaseCommand, options: dict[str, Any], event: Event) -> None:
    if options["json"]:
        command.stdout.write(json.dumps(event_for_machines(event)))
    else:
        size = f", {plural(event.size, 'byte')}" if event.size else ""
        command.stdout.write(f"{clock(event.at)}  {printable(event.word)}{size}")


def _count(command: BaseCommand, options: dict[str, Any], more: int, unseen: int) -> None:
    if options["json"]:
        command.stdout.write(json.dumps({"unseen": unseen}))
    else:
        command.stdout.write(command.style.WARNING(f"{plural(more, 'message')} came and went between two looks"))
