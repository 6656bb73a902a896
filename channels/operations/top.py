"""``manage.py millrace top``."""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
import time
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from channel_layer.layer import ChannelLayer

from ..management.working import add_layer_option, open_layer
from .activity import Activity, History
from .arguments import at_least_one
from .overview import NoReportsError, Overview, overview, process_as_json
from .reaching import USAGE, WRONG, refuse_local
from .tables import ended_quietly

HELP = (
    "Shows live in the terminal what is wrong, throughput, waiting times, the slowest consumers and the processes, "
    "every two seconds, until q or Ctrl-C."
)

EVERY_SECONDS: Final = 2.0
"""Time between two looks: processes report as often."""

HOW_TO_INSTALL: Final = "pip install 'django-millrace[terminal]'"


def add_arguments(parser: CommandParser) -> None:
    """Declare the options."""
    add_layer_option(parser)
    parser.add_argument("--json", action="store_true", help="print an object in a line every two seconds, for machines")
    parser.add_argument("--count", type=at_least_one, metavar="N", help="end after so many looks")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Look again and again."""
    if not options["json"]:
        if not sys.stdout.isatty():
            raise CommandError(
                "top is for a terminal; manage.py millrace status prints the same once, and top --json prints a line "
                "every two seconds",
                returncode=USAGE,
            )
        if importlib.util.find_spec("rich") is None:
            raise CommandError(f"top needs the package rich; install it: {HOW_TO_INSTALL}", returncode=WRONG)
    layer = open_layer(options["layer"])
    try:
        refuse_local(layer)
        with ended_quietly(command):
            (_print if options["json"] else _draw)(command, layer, options["count"])
    except NoReportsError as error:
        raise CommandError(str(error), returncode=WRONG) from error
    finally:
        layer.close()


def _draw(command: BaseCommand, layer: ChannelLayer, count: int | None) -> None:
    from .screen import Screen, keys, wait_for_q

    history = History()
    with keys(), Screen() as screen:
        for number in _numbers(count):
            found, activity = look(layer, history)
            screen.draw(found, activity, layer.describe())
            if number != count and wait_for_q(EVERY_SECONDS):
                return


def _print(command: BaseCommand, layer: ChannelLayer, count: int | None) -> None:
    history = History()
    for number in _numbers(count):
        found, activity = look(layer, history)
        command.stdout.write(json.dumps(as_json(found, activity), default=repr))
        command.stdout.flush()
        if number != count:
            time.sleep(EVERY_SECONDS)


def _numbers(count: int | None) -> itertools.count[int] | range:
    return itertools.count(1) if count is None else range(1, count + 1)


def look(layer: ChannelLayer, history: History) -> tuple[Overview, Activity | None]:
    """The system as it is now, and what it did since the look before; ``None`` at the first.

    A layer that is away is a problem among others: it may come back.

    Raises:
        NoReportsError: the layer lacks the extension.
    """
    found = overview(layer)
    activity = history.add(found.reports, time.monotonic())
    return found, activity if history.is_complete else None


def as_json(found: Overview, activity: Activity | None) -> dict[str, Any]:
    """A look for machines."""
    processes = [
        {key: value for key, value in process_as_json(report).items() if key in PROCESS_KEYS}
        for report in found.reports
    ]
    return {
        "at": round(time.time(), 3),
        "ok": not found.problems,
        "problems": found.problems,
        "activity": activity.as_json() if activity else None,
        "channels": {name: dict(counts) for name, counts in found.channels.items()},
        "processes": processes,
    }


PROCESS_KEYS: Final = frozenset({"name", "kind", "host", "pid", "version", "verdict", "age", "started"})
"""The part of a report that a line has; `status --json` prints all of it."""
