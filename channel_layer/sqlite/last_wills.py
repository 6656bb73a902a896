"""Statements on last wills: what processes leave to be sent in case they disappear. Each runs inside the caller's
transaction, which makes it certain that a last will is carried out once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from .. import codec, names
from ..delivery import LastWill
from ..upkeep import NEWS_SECONDS
from .schema import clock

CHUNK = 200
"""Last wills carried out in one transaction, which holds up other writers for so long."""

_LEAVE = (
    "INSERT INTO wills (reader, channel, target, data, made) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (reader, channel) DO UPDATE SET target = excluded.target, data = excluded.data, made = excluded.made"
)

_SILENT = """
WITH RECURSIVE step (reader) AS (
    SELECT min(reader) FROM wills WHERE sent IS NULL
    UNION ALL
    SELECT (SELECT min(reader) FROM wills WHERE sent IS NULL AND wills.reader > step.reader)
    FROM step WHERE step.reader IS NOT NULL
)
SELECT reader FROM step WHERE reader IS NOT NULL
AND NOT EXISTS (SELECT 1 FROM readers WHERE readers.reader = step.reader AND seen >= :silent)
AND NOT EXISTS (SELECT 1 FROM wills WHERE sent IS NULL AND wills.reader = step.reader AND made >= :silent)
"""


def is_settled(connection: sqlite3.Connection, last_will: LastWill) -> bool:
    """Tell if the message that withdraws a last will is to be dropped, because it was sent, by others or before."""
    if last_will.message is not None:
        return False
    reader, _ = names.split(last_will.channel)
    rows = connection.execute("SELECT sent FROM wills WHERE reader = ? AND channel = ?", (reader, last_will.channel))
    found = rows.fetchone()
    return last_will.claims if found is None else found != (None,)


def settle(connection: sqlite3.Connection, last_will: LastWill) -> None:
    """Leave a last will, or withdraw it."""
    reader, _ = names.split(last_will.channel)
    message = last_will.message
    if message is None:
        connection.execute("DELETE FROM wills WHERE reader = ? AND channel = ?", (reader, last_will.channel))
        return
    target, local = names.split(message.target)
    frame = codec.frame(codec.DIRECT, local, message.body, message.headers)
    connection.execute(_LEAVE, (reader, last_will.channel, target, frame, clock()))


def silent(connection: sqlite3.Connection, presence: float) -> list[str]:
    """Processes that have left last wills and given no heartbeat for ``presence`` seconds."""
    return [reader for (reader,) in connection.execute(_SILENT, {"silent": clock() - presence}).fetchall()]


def carry_out(connection: sqlite3.Connection, reader: str, presence: float, put: Callable[[str, bytes], bool]) -> bool:
    """Carry out some last wills of a process that is `silent`; returns whether there may be more to do right now.

    ``put`` puts a frame on a channel if there is room, and returns whether there was.

    When a whole machine was held up, everybody was silent. So a process is doubted first, and has a third of
    ``presence`` to say that it is there.
    """
    if not _doubt_has_lasted(connection, reader, presence / 3):
        return False
    rows = connection.execute(
        "SELECT channel, target, data FROM wills WHERE reader = ? AND sent IS NULL LIMIT ?", (reader, CHUNK)
    ).fetchall()
    sent = [channel for channel, target, data in rows if put(target, data)]
    connection.executemany(
        "UPDATE wills SET sent = ?, data = x'' WHERE reader = ? AND channel = ?",
        [(clock(), reader, channel) for channel in sent],
    )
    return len(sent) == CHUNK


def carried_out(connection: sqlite3.Connection, reader: str) -> set[str]:
    """Local parts of a process whose last wills were carried out."""
    rows = connection.execute("SELECT channel FROM wills WHERE reader = ? AND sent IS NOT NULL", (reader,))
    return {names.split(channel)[1] for (channel,) in rows.fetchall()}


def drop_old_news(connection: sqlite3.Connection, now: float) -> None:
    """Forget what nobody will come back for."""
    connection.execute("DELETE FROM wills WHERE sent < ?", (now - NEWS_SECONDS,))


def _doubt_has_lasted(connection: sqlite3.Connection, reader: str, seconds: float) -> bool:
    row = connection.execute("SELECT doubted FROM readers WHERE reader = ?", (reader,)).fetchone()
    if row is None:  # it never received anything
        return True
    [doubted] = row
    now = clock()
    if doubted is None or doubted < now - 4 * seconds:
        connection.execute("UPDATE readers SET doubted = ? WHERE reader = ?", (now, reader))
        return False
    return bool(doubted <= now - seconds)
