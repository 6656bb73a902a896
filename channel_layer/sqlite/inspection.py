"""Statements that look at channels and groups. Each runs inside the caller's transaction."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from ..inspection import MOST_BYTES, GroupMembers, GroupSizes, Look, mark_of
from .schema import clock

_PRESENT = (
    " FROM members WHERE expires > :now"
    " AND NOT EXISTS (SELECT 1 FROM readers WHERE readers.reader = members.reader AND seen < :silent)"
)


def look(connection: sqlite3.Connection, reader: str, limit: int, newest: bool, expiry: float) -> list[Look]:
    """Look at messages at one end of a channel, oldest first."""
    now = clock()
    found: list[Look] = []
    size = 0
    rows = connection.execute(
        "SELECT expires, data FROM frames WHERE channel = ? AND control = 0 AND expires > ?"
        f" ORDER BY id {'DESC' if newest else 'ASC'} LIMIT ?",
        (reader, now, limit),
    )
    with closing(rows):
        for expires, data in rows:
            found.append(Look(mark_of(expires, data), data, len(data), max(0.0, now + expiry - expires)))
            size += len(data)
            if size >= MOST_BYTES:
                break
    return found[::-1] if newest else found


def group_sizes(connection: sqlite3.Connection, limit: int, silent: float) -> GroupSizes:
    """Count the members of the largest groups, and all groups."""
    now = clock()
    places = {"now": now, "silent": now - silent}
    [(total,)] = connection.execute(f"SELECT count(DISTINCT team){_PRESENT}", places)
    rows = connection.execute(
        f"SELECT team, count(*) AS size{_PRESENT} GROUP BY team ORDER BY size DESC, team LIMIT :limit",
        {**places, "limit": limit},
    )
    return GroupSizes(total, rows.fetchall())


def group_members(connection: sqlite3.Connection, group: str, limit: int, silent: float) -> GroupMembers:
    """Count the members of a group, and name some of them."""
    now = clock()
    places = {"now": now, "silent": now - silent, "team": group}
    [(total,)] = connection.execute(f"SELECT count(*){_PRESENT} AND team = :team", places)
    rows = connection.execute(f"SELECT channel{_PRESENT} AND team = :team LIMIT :limit", {**places, "limit": limit})
    return GroupMembers(total, [channel for (channel,) in rows.fetchall()])
