"""Statements on memberships, and on who reads for them. Each runs inside the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from .. import codec, names
from ..upkeep import gone_after
from .schema import clock

SILENT_SECONDS = 30.0
"""Default time without a heartbeat after which the members of a process are passed over."""

_READERS = """
WITH RECURSIVE step (reader) AS (
    SELECT min(reader) FROM members WHERE team = :team
    UNION ALL
    SELECT (SELECT min(reader) FROM members WHERE team = :team AND members.reader > step.reader)
    FROM step WHERE step.reader IS NOT NULL
)
SELECT reader FROM step WHERE reader IS NOT NULL
AND EXISTS (SELECT 1 FROM members WHERE team = :team AND members.reader = step.reader AND expires > :now)
AND NOT EXISTS (SELECT 1 FROM readers WHERE readers.reader = step.reader AND seen < :silent)
"""

_CHANNELS = (
    "SELECT channel FROM members WHERE team = ? AND expires > ?"
    " AND NOT EXISTS (SELECT 1 FROM readers WHERE readers.reader = members.reader AND seen < ?)"
)

_ADD = (
    "INSERT INTO members (team, reader, channel, expires) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (team, reader, channel) DO UPDATE SET expires = max(expires, excluded.expires)"
)

Frames = list[tuple[str, bytes]]
"""Frames to put on the queues of the processes they concern, as (reader, frame)."""


def readers(connection: sqlite3.Connection, group: str, now: float, silent: float = SILENT_SECONDS) -> list[str]:
    """Return the readers of a group: process-specific names up to ``!``, others as they are."""
    rows = connection.execute(_READERS, {"team": group, "now": now, "silent": now - silent})
    return [reader for (reader,) in rows.fetchall()]


def channels(connection: sqlite3.Connection, group: str, silent: float = SILENT_SECONDS) -> list[str]:
    """Full names of the members."""
    now = clock()
    return [channel for (channel,) in connection.execute(_CHANNELS, (group, now, now - silent)).fetchall()]


def add(connection: sqlite3.Connection, group: str, channel: str, seconds: int) -> Frames:
    """Add a member or renew it, which never makes its time shorter."""
    reader, local = names.split(channel)
    connection.execute(_ADD, (group, reader, channel, clock() + seconds))
    return [(reader, codec.membership_frame(codec.JOIN, group, local, seconds))] if local else []


def discard(connection: sqlite3.Connection, group: str, channel: str) -> Frames:
    """Remove a member."""
    reader, local = names.split(channel)
    connection.execute("DELETE FROM members WHERE team = ? AND reader = ? AND channel = ?", (group, reader, channel))
    return [(reader, codec.membership_frame(codec.LEAVE, group, local, None))] if local else []


def forget(connection: sqlite3.Connection, channel: str) -> Frames:
    """Remove a channel from all groups. The frames undo what its process may still have to read."""
    reader, local = names.split(channel)
    rows = connection.execute("DELETE FROM members WHERE channel = ? RETURNING team", (channel,)).fetchall()
    return [(reader, codec.membership_frame(codec.LEAVE, group, local, None)) for (group,) in rows if local]


def dissolve(connection: sqlite3.Connection) -> Frames:
    """Remove all members of all groups."""
    rows = connection.execute("DELETE FROM members RETURNING team, reader, channel").fetchall()
    parted = [(group, reader, names.split(channel)[1]) for group, reader, channel in rows]
    return [
        (reader, codec.membership_frame(codec.LEAVE, group, local, None)) for group, reader, local in parted if local
    ]


def beat(connection: sqlite3.Connection, reader: str, silent: float = SILENT_SECONDS) -> bool:
    """Note that a process-specific channel is being read; returns whether it was known to be a moment ago."""
    now = clock()
    before = connection.execute("SELECT seen FROM readers WHERE reader = ?", (reader,)).fetchone()
    connection.execute("INSERT OR REPLACE INTO readers (reader, seen) VALUES (?, ?)", (reader, now))
    return before is not None and before[0] >= now - silent


def restore(connection: sqlite3.Connection, reader: str, memberships: Iterable[tuple[str, str, float]]) -> None:
    """Put back memberships, as (group, local part, seconds left), that the file has lost. Newer ones stay."""
    now = clock()
    rows = [(group, reader, reader + local, now + seconds) for group, local, seconds in memberships]
    connection.executemany(_ADD, rows)


def drop_gone(connection: sqlite3.Connection, now: float, silent: float = SILENT_SECONDS) -> None:
    """Remove expired memberships, and processes that have been silent for long, with their members."""
    gone = now - gone_after(silent)
    connection.execute("DELETE FROM members WHERE expires <= ?", (now,))
    connection.execute("DELETE FROM members WHERE reader IN (SELECT reader FROM readers WHERE seen < ?)", (gone,))
    connection.execute(
        "DELETE FROM readers WHERE seen < ?"
        " AND NOT EXISTS (SELECT 1 FROM wills WHERE wills.reader = readers.reader AND sent IS NULL)",
        (gone,),
    )
