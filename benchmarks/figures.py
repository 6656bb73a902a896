"""Statistics of a benchmark, numbers as people read them, and tables of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

middle = statistics.median


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0 to 1) of the values do not exceed; raises for none at all."""
    if not values:
        raise ValueError("no percentile of no values")
    ordered = sorted(values)
    rank = -int(-share * len(ordered) // 1)  # rounded up
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def median(values: Sequence[float | None]) -> float | None:
    """The median of the values that are there; ``None`` if none is."""
    present = [value for value in values if value is not None]
    return statistics.median(present) if present else None


def spread(values: Sequence[float | None]) -> float | None:
    """Largest minus smallest value, as a share of the median; ``None`` below two values."""
    present = [value for value in values if value is not None]
    center = median(present)
    return (max(present) - min(present)) / center if center and len(present) > 1 else None


def advantage(ours: float | None, theirs: float | None, *, lower_is_better: bool) -> float | None:
    """Ratio of ours to theirs: 2 is twice as good, whichever way the figure counts."""
    if not ours or not theirs:
        return None
    return theirs / ours if lower_is_better else ours / theirs


def per_second(measured: Mapping[str, Any]) -> float:
    """The rate of a round: its count and its seconds."""
    return float(measured["count"] / measured["seconds"])


def rate_text(value: float | None) -> str:
    """A rate with three significant digits and thousands set off: 12,300/s."""
    if value is None:
        return "–"
    digits = 0 if value >= 100 else 1
    if value >= 1_000:
        step = 10 ** (len(str(int(value))) - 3)
        value = round(value / step) * step
    return f"{value:,.{digits}f}/s"


def time_text(seconds: float | None) -> str:
    """A duration in milliseconds: 0.24 ms."""
    if seconds is None:
        return "–"
    milliseconds = seconds * 1_000
    return f"{milliseconds:.{2 if milliseconds < 10 else 1}f} ms"


def ratio_text(value: float | None) -> str:
    """A ratio with its sign."""
    return "–" if value is None else f"{value:.{2 if value < 10 else 0}f} ×"


def microseconds(value: float) -> str:
    """Seconds, as microseconds."""
    return f"{value * 1e6:,.{1 if value < 1e-4 else 0}f} µs"


def share(value: float) -> str:
    """A part of a whole, in percent."""
    return f"{value:.{1 if value < 0.1 else 0}%}"


def kibibytes(value: float) -> str:
    """Bytes, as KiB."""
    return f"{value / 1_024:,.1f} KiB"


def mebibytes(value: float) -> str:
    """Bytes, as MiB."""
    return f"{value / 1_048_576:,.0f} MiB"


def megabytes_per_second(value: float) -> str:
    """Bytes a second, as MB/s (of a million bytes)."""
    return f"{value / 1e6:,.{0 if value >= 1e7 else 1}f} MB/s"


HEADS = ["what", "figure", "target", "result"]
"""Of a study's table: one figure in each row."""


def row(
    what: str, value: float, unit: Callable[[float], str], *, least: float | None = None, most: float | None = None
) -> list[str]:
    """A row of a study's table: a figure in its unit, and what it should not be below or above."""
    target, sign = (most, "≤") if least is None else (least, "≥")
    if target is None:
        return [what, unit(value), "", ""]
    reached = value <= target if least is None else value >= target
    return [what, unit(value), f"{sign} {unit(target)}", "reached" if reached else "missed"]


def markdown(lines: list[list[str]]) -> str:
    """A Markdown table, aligned for plain text too: the first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    aligned = [
        [line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]
        for line in lines
    ]
    rule = [f"{'-' * (width - 1)}{':' if column else '-'}" for column, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [aligned[0], rule, *aligned[1:]])
