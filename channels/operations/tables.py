"""Tables and texts for a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

from django.core.management.base import BaseCommand


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose columns are as wide as what is in them."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]


def write_table(command: BaseCommand, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, with a head that stands out in a terminal."""
    first, *rest = table(head, rows)
    command.stdout.write(command.style.MIGRATE_HEADING(first))
    for line in rest:
        command.stdout.write(line)


def plural(number: float, what: str) -> str:
    """A number of things.

    >>> plural(1, "message"), plural(2, "message")
    ('1 message', '2 messages')
    """
    return f"{number:.0f} {what}{'s' * (number != 1)}"


def printable(text: str) -> str:
    """A text without what a terminal would take for an order."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


@contextlib.contextmanager
def ended_quietly(command: BaseCommand) -> Iterator[None]:
    """Surround what goes on until Ctrl-C, or until nobody reads what it prints."""
    try:
        yield
    except KeyboardInterrupt:
        command.stderr.write("")  # the prompt is to stand in a line of its own
    except BrokenPipeError:
        # At its end Python would try again to write what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
