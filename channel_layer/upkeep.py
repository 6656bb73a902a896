"""Times by which processes look after the store that they share: heartbeats, and what is removed."""

from __future__ import annotations

BEATS = 6
"""Number of heartbeats of a process in the time of ``presence``."""

SWEEP_SECONDS = 10.0
"""Time between two sweeps of a store, by the first process that gets there."""

NEWS_SECONDS = 86_400.0
"""Time for which carried-out last wills are remembered, for a process that comes back."""

GONE_SECONDS = 120.0
"""Least time without a heartbeat after which a process is forgotten."""


def gone_after(presence: float) -> float:
    """Seconds without a heartbeat after which the members of a process are removed; one that comes back restores them.

    >>> gone_after(30), gone_after(90)
    (120.0, 180)
    """
    return max(GONE_SECONDS, 2 * presence)
