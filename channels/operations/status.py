"""``manage.py millrace status``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from channel_layer.facts import number, numbers, part, verdict
from channel_layer.reports import Report

from ..management.working import add_layer_option, open_layer
from .overview import NoReportsError, lost_messages, overview
from .reaching import AWAY
from .tables import write_table

HELP = "Shows the processes and the channels, what is wrong first. The status is 3 if the layer cannot be reached."

PROCESSES = ("process", "host", "pid", "version", "state", "since", "at work")
CHANNELS = ("channel", "waiting", "oldest", "sent", "refused")


def add_arguments(parser: CommandParser) -> None:
    """Declare the options."""
    add_layer_option(parser)
    parser.add_argument("--json", action="store_true", help="print all that is known as an object for machines")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Look and print."""
    layer = open_layer(options["layer"])
    try:
        found = overview(layer)
    except NoReportsError as error:
        raise CommandError(str(error)) from error
    finally:
        layer.close()
    out = command.stdout
    if options["json"]:
        out.write(json.dumps(found.as_json(), default=repr))
    else:
        for problem in found.problems:
            out.write(command.style.ERROR(problem))
        if not found.away:
            if found.problems:
                out.write("")
            write_table(command, PROCESSES, [process_row(report) for report in found.reports])
            out.write("")
            write_table(command, CHANNELS, [channel_row(name, counts) for name, counts in found.channels.items()])
    if found.away:
        sys.exit(AWAY)


def process_row(report: Report) -> list[str]:
    """A process in a line."""
    content, state = report.content, verdict(report)
    since = f"{report.age:.0f} s" if state == "lost" else ""
    return [
        report.name,
        str(content.get("host", "?")),
        str(content.get("pid", "?")),
        str(content.get("version", "?")),
        state,
        since,
        at_work(content),
    ]


def at_work(content: Mapping[str, Any]) -> str:
    """A few words on what a process does."""
    parts = []
    if content.get("kind") == "web":
        parts.append(f"{sum(numbers(content, 'sockets').values()):.0f} WebSockets")
        parts.append(f"{number(content, 'requesting'):.0f} requests")
    else:
        parts.append(f"{number(content, 'busy'):.0f} of {number(content, 'threads'):.0f} threads")
        ran = sum(sum(numbers(content, "messages", channel).values()) for channel in part(content, "messages"))
        parts.append(f"{ran:.0f} messages")
        parts += [
            f"{number(content, what):.0f} {what}" for what in ("tasks", "streams", "instances") if number(content, what)
        ]
    errors = sum(numbers(content, "errors_count").values())
    lost = sum(lost_messages(content).values())
    parts += [f"{errors:.0f} errors"] if errors else []
    parts += [f"{lost:.0f} lost"] if lost else []
    return ", ".join(parts)


def channel_row(name: str, counts: Mapping[str, float]) -> list[str]:
    """A channel in a line."""
    oldest = number(counts, "messages_max_age")
    return [
        name,
        f"{number(counts, 'messages_pending'):.0f}",
        f"{oldest:.1f} s" if oldest else "",
        f"{number(counts, 'messages_count'):.0f}",
        f"{number(counts, 'channel_full_count'):.0f}",
    ]
