"""``manage.py millrace health``."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ..management.working import add_layer_option, open_layer
from .overview import MAX_WAIT, NoReportsError, overview
from .reaching import AWAY, WRONG

HELP = (
    "Says whether all is well: web servers and workers report, reach the channel layer, and no message waits for long. "
    "The status is 0 if so, 1 if not, and 3 if the channel layer cannot be reached."
)


def add_arguments(parser: CommandParser) -> None:
    """Declare the options."""
    add_layer_option(parser)
    parser.add_argument(
        "--max-wait",
        type=float,
        default=MAX_WAIT,
        metavar="SECONDS",
        help="how long a message may wait on its channel (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print an object for machines")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Look, print, and end with the status."""
    if not options["max_wait"] > 0:
        raise CommandError(f"--max-wait must be more than 0 seconds, not {options['max_wait']:g}")
    layer = open_layer(options["layer"])
    try:
        found = overview(layer, options["max_wait"])
    except NoReportsError as error:
        raise CommandError(str(error)) from error
    finally:
        layer.close()
    if options["json"]:
        command.stdout.write(json.dumps({"ok": not found.problems, "problems": found.problems}))
    elif found.problems:
        for problem in found.problems:
            command.stdout.write(command.style.ERROR(problem))
    else:
        command.stdout.write(command.style.SUCCESS("ok: ") + found.summary())
    if found.problems:
        sys.exit(AWAY if found.away else WRONG)
