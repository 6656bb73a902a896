"""``manage.py millrace tail``."""

from __future__ import annotations

import json
import time
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser

from channel_layer import names
from channel_layer.inspection import INSPECTION, Waiting
from channel_layer.layer import ChannelLayer

from ..management.working import add_layer_option
from .arguments import seconds
from .channel import only_for, reader_of
from .contents import for_machines, in_words
from .reaching import need, reached
from .tables import ended_quietly, plural

HELP = (
    "Follows what is sent on a channel until Ctrl-C, by a look ten times a second, and takes nothing. What is taken by "
    "its reader between two looks is counted and not shown."
)

LOOK_SECONDS: Final = 0.1
"""Time between two looks. Nobody else does anything for them, so nothing is slower while nobody follows."""

MOST: Final = 100
"""Messages that one look shows."""

pause = time.sleep
"""Waits for the next look."""

REMEMBERED: Final = 20 * MOST
"""Messages that are not shown again if they are put back to their channel."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the options."""
    parser.add_argument("channel", metavar="NAME", help="name of the channel")
    parser.add_argument("--content", action="store_true", help="show all that the messages say")
    parser.add_argument("--seconds", type=seconds, metavar="N", help="end after so many seconds")
    add_layer_option(parser)
    parser.add_argument("--json", action="store_true", help="print an object in a line for each message")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Look again and again, and print."""
    until = time.monotonic() + (options["seconds"] or float("inf"))
    with reached(options["layer"]) as (layer, _), ended_quietly(command):
        need(layer, INSPECTION, "be looked into")
        tail = Tail(layer, options["channel"])
        told = 0
        while (left := until - time.monotonic()) > 0:
            for waiting in tail.look():
                _show(command, options, waiting)
            if tail.unseen > told:
                _count(command, options, tail.unseen - told, tail.unseen)
                told = tail.unseen
            command.stdout.flush()
            pause(min(LOOK_SECONDS, left))


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


def _count(command: BaseCommand, options: dict[str, Any], more: int, unseen: int) -> None:
    if options["json"]:
        command.stdout.write(json.dumps({"unseen": unseen}))
    else:
        command.stdout.write(command.style.WARNING(f"{plural(more, 'message')} came and went between two looks"))
