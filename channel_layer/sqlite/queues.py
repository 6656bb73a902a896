"""Statements that move frames: putting, taking, looking, counting. Each runs inside the caller's transaction."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

from .. import codec, names
from ..capacity import CapacityRules
from ..delivery import Outgoing
from . import groups, last_wills
from .schema import clock

_TAKE = (
    "DELETE FROM frames WHERE id IN (SELECT id FROM frames WHERE channel = ? ORDER BY id LIMIT ?)"
    " RETURNING id, expires, control, data"
)
_PUT = "INSERT INTO frames (channel, expires, control, data) VALUES (?, ?, ?, ?)"
_COUNT = (
    "INSERT INTO counts (name, pending, sent, refused) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
    " pending = pending + excluded.pending, sent = sent + excluded.sent, refused = refused + excluded.refused"
)


class Putting:
    """Puts a batch of messages on their channels, as far as there is room.

    Args:
        connection: inside a transaction.
        capacity: how much each channel holds.
        expiry: seconds until what is put expires.
        silent: seconds after which members of a process without a heartbeat are passed over.

    Attributes:
        expired: messages that were removed to make room.
        group_full: messages to groups that a full member missed.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        capacity: CapacityRules,
        expiry: float,
        silent: float = groups.SILENT_SECONDS,
    ) -> None:
        self._silent = silent
        self.expired = 0
        self.group_full = 0
        self._connection = connection
        self._capacity = capacity
        self._now = clock()
        self._expires = self._now + expiry
        self._room: dict[str, int] = {}
        self._rows: list[tuple[str, float, int, bytes]] = []
        self._refusals: dict[str, int] = {}

    def put(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """Put all there is room for and return the others."""
        refused = []
        for item in items:
            if item.group:
                self._put_group(item)
            elif not self._put_message(item):
                refused.append(item)
        self.finish()
        return refused

    @property
    def readers(self) -> AbstractSet[str]:
        """Readers for which something was put, or tried to be."""
        return self._room.keys()

    def put_frame(self, reader: str, frame: bytes) -> bool:
        """Put one frame if there is room, which `finish` completes."""
        return self._put(reader, frame)

    def finish(self) -> None:
        """Write what was put."""
        self._connection.executemany(_PUT, self._rows)
        self._connection.executemany(_COUNT, self._changes())

    def _put_message(self, item: Outgoing) -> bool:
        """Put a message and settle its last will, unless there is no room; returns whether there was."""
        last_will = item.last_will
        if last_will is not None and last_wills.is_settled(self._connection, last_will):
            return True
        if item.body:
            reader, local = names.split(item.target)
            if not self._put(reader, codec.frame(codec.DIRECT, local, item.body, item.headers)):
                return False
        if last_will is not None:
            last_wills.settle(self._connection, last_will)
        return True

    def _put_group(self, item: Outgoing) -> None:
        for reader in groups.readers(self._connection, item.target, self._now, self._silent):
            kind, address = (codec.GROUP, item.target) if reader.endswith("!") else (codec.DIRECT, "")
            if not self._put(reader, codec.frame(kind, address, item.body, item.headers)):
                self.group_full += 1

    def _put(self, reader: str, frame: bytes) -> bool:
        room = self._room.get(reader)
        if room is None:
            room = self._room_in(reader)
        if room <= 0:
            self._refusals[reader] = self._refusals.get(reader, 0) + 1
            return False
        self._room[reader] = room - 1
        self._rows.append((reader, self._expires, 0, frame))
        return True

    def _room_in(self, reader: str) -> int:
        capacity = self._capacity.of_reader(reader)
        room = capacity - _pending(self._connection, reader)
        if room <= 0:
            self.expired += drop_expired(self._connection, self._now, reader)
            room = capacity - _pending(self._connection, reader)
        return room

    def _changes(self) -> list[tuple[str, int, int, int]]:
        put: dict[str, int] = {}
        for row in self._rows:
            put[row[0]] = put.get(row[0], 0) + 1
        changes = [change for reader, n in put.items() for change in _counted(reader, pending=n, sent=n)]
        return changes + [(names.family(reader), 0, 0, n) for reader, n in self._refusals.items()]


def put_front(
    connection: sqlite3.Connection, reader: str, frames: Sequence[tuple[bytes, float | None]], expiry: float
) -> None:
    """Put frames at the front of a channel, the first of them foremost, each with its time to expire if it has one."""
    [(first,)] = connection.execute("SELECT coalesce(min(id), 0) FROM frames")
    latest = clock() + expiry
    connection.executemany(
        "INSERT INTO frames (id, channel, expires, control, data) VALUES (?, ?, ?, 0, ?)",
        [
            (first - len(frames) + place, reader, latest if expires is None else expires, frame)
            for place, (frame, expires) in enumerate(frames)
        ],
    )
    connection.executemany(_COUNT, _counted(reader, pending=len(frames)))


def put_control(connection: sqlite3.Connection, rows: Iterable[tuple[str, bytes]], seconds: float) -> None:
    """Put frames that tell processes of their members, as (reader, frame), for as long as a membership lasts."""
    expires = clock() + seconds
    connection.executemany(_PUT, [(reader, expires, 1, frame) for reader, frame in rows])


@lru_cache(maxsize=64)
def _waiting_statement(channels: int) -> str:
    values = ",".join(["(?)"] * channels)
    return f"SELECT column1 FROM (VALUES {values}) WHERE EXISTS (SELECT 1 FROM frames WHERE channel = column1)"


def waiting(connection: sqlite3.Connection, channels: Sequence[str]) -> list[str]:
    """Those of the channels that something lies on, in random order, so that none comes first always."""
    if not channels:
        return []
    found = [name for (name,) in connection.execute(_waiting_statement(len(channels)), tuple(channels))]
    if len(found) > 1:
        random.shuffle(found)
    return found


def take(connection: sqlite3.Connection, reader: str, limit: int) -> tuple[list[tuple[bytes, float]], int]:
    """Take the first frames of a channel; returns those that are good, with how long, and how many were not."""
    rows = connection.execute(_TAKE, (reader, limit)).fetchall()
    rows.sort()  # RETURNING promises no order
    now = clock()
    messages = sum(not control for _, _, control, _ in rows)
    if messages:
        connection.executemany(_COUNT, _counted(reader, pending=-messages))
        if "?" in reader:
            connection.execute("DELETE FROM counts WHERE name = ? AND pending <= 0", (reader,))
    frames = [(data, expires) for _, expires, _, data in rows if expires > now]
    return frames, sum(1 for _, expires, control, _ in rows if expires <= now and not control)


def drop_expired(connection: sqlite3.Connection, now: float, reader: str | None = None) -> int:
    """Remove expired frames of a channel, or of all; returns how many messages they were."""
    one = "" if reader is None else " AND channel = ?"
    parameters: tuple[Any, ...] = (now,) if reader is None else (now, reader)
    rows = connection.execute(f"DELETE FROM frames WHERE expires <= ?{one} RETURNING channel, control", parameters)
    gone: dict[str, int] = {}
    for channel, control in rows.fetchall():
        if not control:
            gone[channel] = gone.get(channel, 0) + 1
    changes = [change for channel, n in gone.items() for change in _counted(channel, pending=-n)]
    connection.executemany(_COUNT, changes)
    connection.execute("DELETE FROM counts WHERE pending <= 0 AND name LIKE '%?_%'")
    return sum(gone.values())


def statistics(connection: sqlite3.Connection, reader: str | None) -> dict[str, Any]:
    """The counts of one channel, or of all."""
    where, parameters = ("", ()) if reader is None else (" WHERE name = ?", (names.family(reader),))
    [(sent, refused, since)] = connection.execute(
        "SELECT coalesce(sum(sent), 0), coalesce(sum(refused), 0), (SELECT value FROM facts WHERE name = 'since')"
        f" FROM counts{where}",
        parameters,
    )
    return {
        "messages_count": sent,
        "messages_count_per_second": sent / max(clock() - since, 1.0),
        "channel_full_count": refused,
    }


def backlog(connection: sqlite3.Connection, reader: str, expiry: float) -> dict[str, Any]:
    """Count the messages that wait on a channel, and the seconds for which the oldest has."""
    now = clock()
    [(pending, oldest)] = connection.execute(
        "SELECT count(*), min(expires) FROM frames WHERE channel = ? AND control = 0 AND expires > ?", (reader, now)
    )
    return {
        "messages_pending": pending,
        "messages_max_age": 0.0 if oldest is None else max(0.0, now + expiry - oldest),
    }


def oldest_age(connection: sqlite3.Connection, reader: str, expiry: float) -> float:
    """Seconds since the message at the front of a channel was put; 0 if there is none."""
    row = connection.execute(
        "SELECT expires FROM frames WHERE channel = ? AND control = 0 ORDER BY id LIMIT 1", (reader,)
    ).fetchone()
    return max(0.0, clock() + expiry - row[0]) if row else 0.0


def _pending(connection: sqlite3.Connection, reader: str) -> int:
    row = connection.execute("SELECT pending FROM counts WHERE name = ?", (reader,)).fetchone()
    return row[0] if row else 0


def _counted(reader: str, pending: int = 0, sent: int = 0) -> list[tuple[str, int, int, int]]:
    """Rows for `_COUNT`: single-reader channels wait under their own name and are counted together."""
    family = names.family(reader)
    if family == reader:
        return [(reader, pending, sent, 0)]
    return [(reader, pending, 0, 0), (family, 0, sent, 0)] if sent else [(reader, pending, 0, 0)]
