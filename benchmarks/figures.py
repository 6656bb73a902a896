"""Statistics of a benchmark: percentiles, medians over rounds, ratios, and numbers as people read them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


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
    middle = median(present)
    return (max(present) - min(present)) / middle if middle and len(present) > 1 else None


def advantage(ours: float | None, theirs: float | None, *, lower_is_better: bool) -> float | None:
    """Ratio of ours to theirs: 2 is twice as good, whichever way the figure counts."""
    if not ours or not theirs:
        return None
    return theirs / ours if lower_is_better else ours / theirs


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
    if value is None:
        return "–"
    return f"{value:.{2 if value < 10 else 0}f} ×"


def markdown(lines: list[list[str]]) -> str:
    """A Markdown table, aligned for plain text too: the first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def row(line: list[str]) -> str:
        cells = [
            text.rjust(width) if column else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = [f"{'-' * (width - 1)}{':' if column else '-'}" for column, width in enumerate(widths)]
    return "\n".join([row(lines[0]), row(rule), *map(row, lines[1:])])
