"""Statements on the reports of processes. Each runs inside the caller's transaction."""

from __future__ import annotations

import sqlite3

from .schema import clock


def put(connection: sqlite3.Connection, process: str, data: bytes, seconds: float) -> None:
    """Keep a report for so many seconds, in place of the one before."""
    now = clock()
    connection.execute("INSERT OR REPLACE INTO reports VALUES (?, ?, ?, ?)", (process, now, now + seconds, data))


def kept(connection: sqlite3.Connection) -> list[tuple[str, bytes | None, float]]:
    """Return name, report and age of each that is still kept."""
    now = clock()
    rows = connection.execute("SELECT process, data, made FROM reports WHERE ends > ?", (now,)).fetchall()
    return [(process, data, max(0.0, now - made)) for process, data, made in rows]


def drop_old(connection: sqlite3.Connection, now: float) -> None:
    """Remove reports whose time is over."""
    connection.execute("DELETE FROM reports WHERE ends <= ?", (now,))
