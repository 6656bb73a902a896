"""The outcome of a verification for people and for machines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .faults import Fault
from .load import Tally

COLUMNS = ("fault", "sent", "lost", "twice", "order", "forgot", "cut off", "closed", "requests", "longest wait")


@dataclass(frozen=True)
class Outcome:
    """One fault that was tried.

    Attributes:
        fault: which.
        tally: what became of the load.
        patience: factor by which promised times may be exceeded.
    """

    fault: Fault
    tally: Tally
    patience: float

    @property
    def broken(self) -> list[str]:
        """A sentence on each thing that is not as promised; empty if all is well."""
        return self.fault.promise.broken_by(self.tally, self.patience)

    def cells(self) -> list[str]:
        """The figures, in the order of `COLUMNS`."""
        tally = self.tally
        closed = ", ".join(f"{count} with {code}" for code, count in sorted(tally.closed.items())) or "0"
        pages = ", ".join(f"{count} {status or 'without answer'}" for status, count in sorted(tally.pages.items()))
        counts = (tally.sent, tally.lost, tally.doubled, tally.reordered, tally.forgotten, tally.cut)
        return [self.fault.name, *map(str, counts), closed, pages, f"{tally.pause:.2f} s"]

    def as_dict(self) -> dict[str, Any]:
        """The same for `json.dumps`."""
        tally = self.tally
        untold, told, often = tally.left
        return {
            "fault": self.fault.name,
            "text": self.fault.text,
            "ok": not self.broken,
            "broken": self.broken,
            "sent": tally.sent,
            "lost": tally.lost,
            "doubled": tally.doubled,
            "reordered": tally.reordered,
            "forgotten": tally.forgotten,
            "cut_off": tally.cut,
            "closed": {str(code): count for code, count in tally.closed.items()},
            "requests": {str(status): count for status, count in tally.pages.items()},
            "longest_wait_seconds": round(tally.pause, 3),
            "disconnects": {"untold": untold, "told_once": told, "told_more_often": often},
        }


def as_json(outcomes: list[Outcome], layer: str) -> str:
    """All of it as one JSON object."""
    ok = not any(outcome.broken for outcome in outcomes)
    return json.dumps({"ok": ok, "layer": layer, "faults": [outcome.as_dict() for outcome in outcomes]}, indent=2)


def as_table(outcomes: list[Outcome]) -> str:
    """A table in Markdown, which is readable in a terminal too."""
    rows = [list(COLUMNS), *(outcome.cells() for outcome in outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
