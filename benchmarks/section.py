"""Arguments of a study, and its result: one section of the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .figures import markdown


@dataclass(frozen=True)
class Setting:
    """Length and number of the rounds of a study.

    Attributes:
        rounds: measured rounds of each figure; the tables show medians.
        seconds: length of a round, where a round has a length of its own.
        tell: says what is going on, a line at a time, beside the report.
    """

    rounds: int
    seconds: float
    tell: Callable[[str], None]


@dataclass
class Section:
    """Results of a study.

    Attributes:
        title: its heading.
        text: Markdown: what was done and how to read it.
        table: the figures, heads first; the last column says ``reached`` or ``missed`` where there is a target.
        data: every round, unrounded; fit for JSON.
        notes: what went wrong or has to be kept in mind, a sentence each.
    """

    title: str
    text: str
    table: list[list[str]]
    data: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def document(self) -> str:
        """The section as Markdown, with a heading of the second level."""
        notes = ["\n".join(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n\n".join([f"## {self.title}", self.text, markdown(self.table), *notes])
