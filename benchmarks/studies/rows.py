"""Figures with what they should reach: the rows of a study's table, in the units people read."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..figures import rate_text, time_text

HEADS = ["what", "figure", "target", "result"]
"""Of a study's table: one figure in each row."""

Unit = Callable[[float], str]
"""Writes a figure: `rate`, `milliseconds`, `share`, `kibibytes`, `mebibytes`, `megabytes_per_second`."""


def at_least(what: str, value: float, target: float, unit: Unit) -> list[str]:
    """A row whose figure should not be below the target."""
    return [what, unit(value), f"≥ {unit(target)}", "reached" if value >= target else "missed"]


def at_most(what: str, value: float, target: float, unit: Unit) -> list[str]:
    """A row whose figure should not be above the target."""
    return [what, unit(value), f"≤ {unit(target)}", "reached" if value <= target else "missed"]


def known(what: str, value: float, unit: Unit) -> list[str]:
    """A row without a target."""
    return [what, unit(value), "", ""]


def middle(rounds: Iterable[float]) -> float:
    """The median of the rounds; there is at least one."""
    return statistics.median(rounds)


def per_second(measured: Mapping[str, Any]) -> float:
    """The rate of a round: its count and its seconds."""
    return float(measured["count"] / measured["seconds"])


def rate(value: float) -> str:
    """Operations a second."""
    return rate_text(value)


def number(value: float) -> str:
    """A count, with a decimal."""
    return f"{value:,.1f}"


def milliseconds(value: float) -> str:
    """Seconds, as milliseconds."""
    return time_text(value)


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
