"""Common parts of the commands that ask processes: the layer, problems, and statuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from channel_layer.layer import ChannelLayer

from ..management.working import add_layer_option
from .asking import AskingError, LayerAwayError
from .reaching import AWAY, WRONG, reached
from .tables import printable

Found = dict[str, Any]
"""All that a command has found out, for machines; ``problems`` are sentences."""


def add_common_options(parser: CommandParser) -> None:
    """Declare ``--layer`` and ``--json``."""
    add_layer_option(parser)
    parser.add_argument("--json", action="store_true", help="print an object for machines")


def run(
    command: BaseCommand,
    options: dict[str, Any],
    find: Callable[[ChannelLayer], Found],
    show: Callable[[Found], None],
) -> None:
    """Find something out, print it, and end with status 1 if there are problems.

    Args:
        command: prints.
        options: of the command line.
        find: asks the processes.
        show: prints what was found for people.

    Raises:
        CommandError: nobody can be asked.
    """
    with reached(options["layer"]) as (layer, _):
        try:
            found = find(layer)
        except LayerAwayError as error:
            raise CommandError(str(error), returncode=AWAY) from error
        except AskingError as error:
            raise CommandError(str(error), returncode=WRONG) from error
    if options["json"]:
        command.stdout.write(json.dumps(found))
    else:
        for problem in found["problems"]:
            command.stderr.write(command.style.ERROR(problem))
        show(found)
    if found["problems"]:
        sys.exit(WRONG)


def shown(value: object, none: str = "–") -> str:
    """A value in a table; clients choose paths, and users names."""
    return none if value is None or value == "" else printable(str(value))


def age(seconds: float) -> str:
    """A time in a table."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def some(names: Sequence[str], count: int, most: int = 3) -> str:
    """A few of several names."""
    if not names:
        return "–"
    more = count - min(most, len(names))
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
