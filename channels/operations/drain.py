"""``manage.py millrace drain PROCESS``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from channel_layer.layer import ChannelLayer
from channel_layer.reports import Report

from .asking import ask, named
from .consent import add_consent_option, consents
from .overview import where
from .terminal import Found, add_common_options, run

HELP = (
    "Has a process end as SIGTERM would: a web server accepts nothing more, is not ready, and closes its WebSockets, "
    "over --drain-seconds if it was started with that; a worker finishes what it took. A supervisor starts another in "
    "its place."
)


def add_arguments(parser: CommandParser) -> None:
    """Declare the options."""
    parser.add_argument("process", metavar="PROCESS", help="its name, as manage.py millrace status prints it")
    add_consent_option(parser)
    add_common_options(parser)


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Ask for consent, and have the process end."""

    def find(layer: ChannelLayer) -> Found:
        report = named(layer, options["process"])
        if not consents(command, options, f"Drain {where(report)}?"):
            return {"process": report.name, "draining": False, "problems": []}
        return drain(layer, report)

    def show(found: Found) -> None:
        if found["draining"]:
            command.stdout.write(f"{found['process']} drains")

    run(command, options, find, show)


def drain(layer: ChannelLayer, report: Report) -> Found:
    """Have a process end; raises `AskingError`."""
    answers = ask(layer, [report], "drain")
    return {"process": report.name, "draining": report.name in answers.pages, "problems": answers.problems}
