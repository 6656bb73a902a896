"""Tables and texts for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

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
