"""Removing what nobody will come for."""

from __future__ import annotations

import sqlite3

from ..upkeep import SWEEP_SECONDS
from . import groups, last_wills, queues, reports
from .schema import clock

SPARE_PAGES = 1024
"""Free pages (4 KiB each) that are kept for what comes next; more are given back."""

MOST_PAGES = 4096
"""Most pages to give back in one sweep, which holds up other writers for so long."""


def sweep(connection: sqlite3.Connection, silent: float = groups.SILENT_SECONDS) -> int:
    """Remove what has expired, unless somebody did a moment ago; returns how many messages."""
    now = clock()
    turn = connection.execute(
        "UPDATE facts SET value = ? WHERE name = 'swept' AND value <= ?", (now, now - SWEEP_SECONDS)
    )
    if turn.rowcount == 0:
        return 0
    expired = queues.drop_expired(connection, now)
    groups.drop_gone(connection, now, silent)
    last_wills.drop_old_news(connection, now)
    reports.drop_old(connection, now)
    [(free,)] = connection.execute("PRAGMA freelist_count").fetchall()
    for _ in range(min(free - SPARE_PAGES, MOST_PAGES)):
        # One page each time: the sqlite3 module takes one step of a statement that returns no columns.
        connection.execute("PRAGMA incremental_vacuum(1)")
    return expired
