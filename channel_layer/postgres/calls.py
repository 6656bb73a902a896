"""Plans of all operations of the layer. `schema.sql` has the functions that they call."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from .. import codec, names
from ..capacity import CapacityRules
from ..delivery import Outgoing
from ..inspection import MOST_BYTES, GroupMembers, GroupSizes, Look, mark_of
from ..upkeep import NEWS_SECONDS, SWEEP_SECONDS, gone_after
from .connections import Plan
from .listening import bell
from .schema import Schema
from .wire import Rows

CHUNK = 200
"""Last wills carried out in one transaction."""

SHARE, UNCOUNTED_SECONDS = 32, 1.0
"""A process that has found room on a channel fills so small a share of it, within so many seconds, before it counts
again: counting a queue of thousands takes milliseconds. So many processes together keep to the capacity."""

MOST_UNCOUNTED = 4096
"""Channels for which that is remembered, as names of processes come and go."""

_STORED = (
    "stored AS (INSERT INTO SCHEMA.frames (channel, expires, control, data)"
    " SELECT %s, (SELECT SCHEMA.clock()) + %s, false, frame FROM unnest(%s::bytea[]) frame)"
)
_TAKEN = (
    "taken AS (DELETE FROM SCHEMA.frames f WHERE f.ctid = ANY (ARRAY("
    "SELECT g.ctid FROM SCHEMA.frames g WHERE g.channel = {} ORDER BY g.id LIMIT %s::integer FOR UPDATE SKIP LOCKED"
    ")) RETURNING f.id, f.expires, f.control, f.data)"
)
_ROW = (
    "t.id, t.expires, t.control, CASE WHEN t.expires > (SELECT SCHEMA.clock()) THEN t.data END, (SELECT SCHEMA.clock())"
)

STORE = f"WITH {_STORED} SELECT pg_notify(%s, %s), SCHEMA.clock()"
TAKE = f"WITH {_TAKEN.format('%s')} SELECT {_ROW} FROM taken t"
STORE_AND_TAKE = (
    f"WITH {_STORED}, {_TAKEN.format('%s')} SELECT told.at, {_ROW}"
    " FROM (SELECT pg_notify(%s, %s), SCHEMA.clock() AS at) told LEFT JOIN taken t ON true"
)
TAKE_FIRST = (
    "WITH chosen AS MATERIALIZED (SELECT name FROM unnest(%s::text[]) name"
    " WHERE EXISTS (SELECT FROM SCHEMA.frames f WHERE f.channel = name) LIMIT 1),"
    f" {_TAKEN.format('(SELECT name FROM chosen)')} SELECT c.name, {_ROW} FROM chosen c LEFT JOIN taken t ON true"
)
"""The statements of each message. As functions of the database they took half as much again: each of the statements
in a function is started and ended like one of its own."""

_PRESENT = (
    " FROM SCHEMA.members m WHERE m.expires > SCHEMA.clock() AND NOT EXISTS ("
    "SELECT FROM SCHEMA.readers r WHERE r.reader = m.reader AND r.seen < SCHEMA.clock() - %s)"
)


class Calls:
    """Plans of one layer.

    Args:
        schema: where the tables are.
        capacity: how much each channel holds.
        expiry: seconds until a message expires.
        group_expiry: seconds that a membership lasts.
        presence: seconds after which a process without a heartbeat is passed over.
    """

    def __init__(
        self, schema: Schema, capacity: CapacityRules, expiry: float, group_expiry: float, presence: float
    ) -> None:
        self._sql = schema.statement
        self._bell = partial(bell, schema.name)
        self._room = capacity.of_reader
        self._uncounted: dict[str, tuple[int, float]] = {}
        # The database has one type for all of them, whole numbers or not.
        self._expiry, self._group_expiry, self._presence = float(expiry), float(group_expiry), float(presence)

    # -- messages --------------------------------------------------------------------------------

    def send(self, items: Sequence[Outgoing]) -> Plan[tuple[list[Outgoing], int, float]]:
        """Store messages; returns those refused, how many members of groups were full, and the server's time."""
        if (reader := only_reader(items)) is not None:
            return (yield from self.store(reader, items))
        given = [self._addressed(item) for item in items]
        grouped, targets, frames, others, rooms = map(list, zip(*given, strict=True))
        heirs: list[Sequence[Any] | None] = [None] * 5
        if any(item.last_will is not None for item in items):
            heirs = [list(column) for column in zip(*map(_last_will, items), strict=True)]
        [(refused, missed, now)] = yield self._sql(
            "SELECT * FROM SCHEMA.send(%s::boolean[], %s::text[], %s::bytea[], %s::bytea[], %s::integer[],"
            " %s::text[], %s::text[], %s::bytea[], %s::text[], %s::boolean[], %s, %s)",
            grouped, targets, frames, others, rooms, *heirs, self._expiry, self._presence,
        )  # fmt: skip
        return [items[n - 1] for n in refused or ()], missed or 0, now

    def is_counted(self, reader: str, number: int) -> bool:
        """True if what waits on a channel has to be counted before so many messages are stored."""
        uncounted, until = self._uncounted.get(reader, (0, 0.0))
        return uncounted < number or time.monotonic() > until

    def store(self, reader: str, items: Sequence[Outgoing]) -> Plan[tuple[list[Outgoing], int, float]]:
        """Form of `send` for items of which `only_reader` has named the reader."""
        frames = _frames(items)
        if self.is_counted(reader, len(items)):
            [(stored, free, now)] = yield self._sql(
                "SELECT * FROM SCHEMA.store(%s, %s::bytea[], %s::integer, %s)",
                reader, frames, self._room(reader), self._expiry,
            )  # fmt: skip
            if "?" not in reader:  # those are used once
                if len(self._uncounted) >= MOST_UNCOUNTED:
                    self._uncounted.clear()
                self._uncounted[reader] = (free - stored) // SHARE, time.monotonic() + UNCOUNTED_SECONDS
            return list(items[stored:]), 0, now
        [(_, now)] = yield self._sql(STORE, reader, self._expiry, frames, self._bell(reader), reader)
        self._count_stored(reader, len(items))
        return [], 0, now

    def store_and_take(
        self, reader: str, items: Sequence[Outgoing], channel: str, limit: int
    ) -> Plan[tuple[float, Rows]]:
        """`store` where nothing has to be counted, and `take`, in one transaction; the server's time, and rows."""
        rows = yield self._sql(
            STORE_AND_TAKE, reader, self._expiry, _frames(items), channel, limit, self._bell(reader), reader
        )
        self._count_stored(reader, len(items))
        return rows[0][0], sorted(row[1:] for row in rows if row[1] is not None)

    def take(self, channel: str, limit: int) -> Plan[Rows]:
        """Take frames off a channel that nobody else is taking; of what has expired the data is ``None``.

        Returns:
            (id, expires, control, data, the server's time) of each, in order.
        """
        return sorted((yield self._sql(TAKE, channel, limit)))

    def take_first(self, channels: Sequence[str], limit: int) -> Plan[tuple[str | None, Rows]]:
        """Take frames off the first of the channels that has any; its name, if one has, and rows as of `take`."""
        rows = yield self._sql(TAKE_FIRST, list(channels), limit)
        return (rows[0][0] if rows else None), sorted(row[1:] for row in rows if row[1] is not None)

    def _count_stored(self, reader: str, number: int) -> None:
        uncounted, until = self._uncounted.get(reader, (0, 0.0))
        self._uncounted[reader] = uncounted - number, until

    def put_front(self, reader: str, frames: Sequence[bytes], expires: Sequence[float | None]) -> Plan[None]:
        """Put frames back to the front of a channel."""
        yield self._sql(
            "SELECT SCHEMA.put_front(%s, %s::bytea[], %s::double precision[], %s)",
            reader, list(frames), list(expires), self._expiry,
        )  # fmt: skip

    def oldest_age(self, reader: str) -> Plan[float]:
        """Seconds since the message at the front of a channel was put; 0 if there is none."""
        rows = yield self._sql(
            "SELECT SCHEMA.clock() - expires FROM SCHEMA.frames WHERE channel = %s AND NOT control ORDER BY id LIMIT 1",
            reader,
        )
        return max(0.0, rows[0][0] + self._expiry) if rows else 0.0

    # -- groups ----------------------------------------------------------------------------------

    def add(self, group: str, channel: str) -> Plan[None]:
        """Add a member or renew it, which never makes its time shorter."""
        reader, local = names.split(channel)
        seconds = self._group_expiry
        frame = codec.membership_frame(codec.JOIN, group, local, math.ceil(seconds)) if local else None
        yield self._sql(
            "SELECT SCHEMA.join_group(%s, %s, %s, %s::integer, %s, %s)",
            group, reader, channel, self._room(reader), seconds, frame,
        )  # fmt: skip

    def discard(self, group: str, channel: str) -> Plan[None]:
        """Remove a member."""
        reader, local = names.split(channel)
        frame = codec.membership_frame(codec.LEAVE, group, local, None) if local else None
        yield self._sql(
            "SELECT SCHEMA.leave_group(%s, %s, %s, %s, %s)", group, reader, channel, self._group_expiry, frame
        )

    def forget(self, channels: Sequence[str]) -> Plan[None]:
        """Remove channels from all groups; to be run as a whole.

        The frames undo what their process may still have to read.
        """
        readers = [names.split(channel)[0] for channel in channels]
        rows = yield self._sql("SELECT * FROM SCHEMA.forget(%s::text[], %s::text[])", readers, list(channels))
        yield from self._tell_of_leaving(rows)

    def channels(self, group: str) -> Plan[list[str]]:
        """Full names of the members."""
        rows = yield self._sql(f"SELECT channel{_PRESENT} AND team = %s", self._presence, group)
        return [channel for (channel,) in rows]

    # -- presence --------------------------------------------------------------------------------

    def beat(self, readers: Sequence[str]) -> Plan[list[str]]:
        """Note that channels are being read; returns those that were not known to be a moment ago."""
        rows = yield self._sql("SELECT SCHEMA.beat(%s::text[], %s)", list(readers), self._presence)
        return [reader for (reader,) in rows]

    def restore(self, reader: str, memberships: Iterable[tuple[str, str, float]]) -> Plan[set[str]]:
        """Put back what the database may have lost; returns local parts whose last wills were carried out.

        Args:
            memberships: group, local part and seconds left of each.
        """
        known = list(memberships)
        if known:
            yield self._sql(
                "SELECT SCHEMA.restore(%s, %s::integer, %s::text[], %s::text[], %s::double precision[])",
                reader, self._room(reader), [group for group, _, _ in known],
                [reader + local for _, local, _ in known], [float(seconds) for _, _, seconds in known],
            )  # fmt: skip
        rows = yield self._sql("SELECT channel FROM SCHEMA.wills WHERE reader = %s AND sent IS NOT NULL", reader)
        return {names.split(channel)[1] for (channel,) in rows}

    def disappeared(self) -> Plan[list[str]]:
        """Processes that have left last wills and given no heartbeat since."""
        rows = yield self._sql("SELECT SCHEMA.disappeared(%s)", self._presence)
        return [reader for (reader,) in rows]

    def carry_out(self, reader: str) -> Plan[bool]:
        """Carry out some last wills of a process that has disappeared; returns whether there may be more right now."""
        rows = yield self._sql("SELECT DISTINCT target FROM SCHEMA.wills WHERE reader = %s AND sent IS NULL", reader)
        targets = [target for (target,) in rows]
        [(done,)] = yield self._sql(
            "SELECT SCHEMA.carry_out(%s, %s, %s, %s::text[], %s::integer[], %s::integer, %s)",
            reader, self._presence, self._presence / 3, targets, [self._room(name) for name in targets], CHUNK,
            self._expiry,
        )  # fmt: skip
        return bool(done == CHUNK)

    def sweep(self) -> Plan[int | None]:
        """Remove what nobody will come for; returns how many messages, or ``None`` if somebody else did just now."""
        [(expired,)] = yield self._sql(
            "SELECT SCHEMA.sweep(%s, %s, %s)", SWEEP_SECONDS, gone_after(self._presence), NEWS_SECONDS
        )
        return expired  # type: ignore[no-any-return]

    def vacuum(self) -> Plan[None]:
        """Give the space of what was removed to what comes next, as far as that takes no longer than a call may."""
        yield self._sql("SELECT set_config('statement_timeout', '3s', false)")
        for table in ("frames", "counts", "readers", "members", "wills", "reports", "moments"):
            yield self._sql(f"VACUUM SCHEMA.{table}")

    # -- reports ---------------------------------------------------------------------------------

    def put_report(self, process: str, data: bytes, seconds: float) -> Plan[None]:
        """Keep a report for so many seconds, in place of the one before."""
        yield self._sql(
            "INSERT INTO SCHEMA.reports VALUES (%s, SCHEMA.clock(), SCHEMA.clock() + %s, %s) ON CONFLICT (process)"
            " DO UPDATE SET made = excluded.made, ends = excluded.ends, data = excluded.data",
            process, float(seconds), data,
        )  # fmt: skip

    def kept_reports(self) -> Plan[Rows]:
        """Name, report and age of each that is still kept."""
        return (
            yield self._sql(
                "SELECT process, data, greatest(0, SCHEMA.clock() - made) FROM SCHEMA.reports"
                " WHERE ends > SCHEMA.clock()"
            )
        )

    # -- inspection and statistics ---------------------------------------------------------------

    def look(self, reader: str, limit: int, newest: bool) -> Plan[list[Look]]:
        """Look at messages at one end of a channel, oldest first."""
        way = "DESC" if newest else "ASC"
        rows = yield self._sql(
            "SELECT expires, data, SCHEMA.clock() - expires FROM ("
            f"SELECT id, expires, data, sum(length(data)) OVER (ORDER BY id {way}) - length(data) AS before FROM ("
            "SELECT * FROM SCHEMA.frames WHERE channel = %s AND NOT control AND expires > SCHEMA.clock()"
            f" ORDER BY id {way} LIMIT %s::integer) found) sized WHERE before < {MOST_BYTES} ORDER BY id",
            reader, limit,
        )  # fmt: skip
        return [
            Look(mark_of(expires, data), data, len(data), max(0.0, age + self._expiry)) for expires, data, age in rows
        ]

    def group_sizes(self, limit: int) -> Plan[GroupSizes]:
        """Count the members of the largest groups, and all groups."""
        presence = self._presence
        [(total,)] = yield self._sql(f"SELECT count(DISTINCT team){_PRESENT}", presence)
        rows = yield self._sql(
            f"SELECT team, count(*) AS size{_PRESENT} GROUP BY team ORDER BY size DESC, team LIMIT %s::integer",
            presence, limit,
        )  # fmt: skip
        return GroupSizes(total, rows)

    def group_members(self, group: str, limit: int) -> Plan[GroupMembers]:
        """Count the members of a group, and name some of them."""
        presence = self._presence
        [(total,)] = yield self._sql(f"SELECT count(*){_PRESENT} AND team = %s", presence, group)
        rows = yield self._sql(f"SELECT channel{_PRESENT} AND team = %s LIMIT %s::integer", presence, group, limit)
        return GroupMembers(total, [channel for (channel,) in rows])

    def count(self, begun: float, counts: dict[str, list[int]]) -> Plan[None]:
        """Add messages sent and refused, by the names under which they are counted, to the statistics.

        Args:
            begun: the server's time from which they were counted; what was counted before a flush is dropped.
        """
        yield self._sql(
            "SELECT SCHEMA.count(%s, %s::text[], %s::bigint[], %s::bigint[])",
            begun,
            list(counts), [sent for sent, _ in counts.values()], [refused for _, refused in counts.values()],
        )  # fmt: skip

    def statistics(self, reader: str | None) -> Plan[dict[str, float]]:
        """The counts of one channel, or of all."""
        family = None if reader is None else names.family(reader)
        [(sent, refused, since)] = yield self._sql(
            "SELECT coalesce(sum(sent), 0)::bigint, coalesce(sum(refused), 0)::bigint,"
            " SCHEMA.clock() - coalesce((SELECT min(at) FROM SCHEMA.moments WHERE name = 'since'), 0)"
            " FROM SCHEMA.counts WHERE %s::text IS NULL OR name = %s::text",
            family, family,
        )  # fmt: skip
        return {
            "messages_count": sent,
            "messages_count_per_second": sent / max(since, 1.0),
            "channel_full_count": refused,
        }

    def backlog(self, reader: str) -> Plan[dict[str, float]]:
        """Count the messages that wait on a channel, and the seconds for which the oldest has."""
        [(pending, age)] = yield self._sql(
            "SELECT count(*), SCHEMA.clock() - min(expires) FROM SCHEMA.frames"
            " WHERE channel = %s AND NOT control AND expires > SCHEMA.clock()",
            reader,
        )
        return {
            "messages_pending": pending,
            "messages_max_age": 0.0 if age is None else max(0.0, age + self._expiry),
        }

    def clear(self) -> Plan[None]:
        """Remove all messages, groups, reports and statistics; to be run as a whole."""
        yield self._sql(
            "WITH frames AS (DELETE FROM SCHEMA.frames), counts AS (DELETE FROM SCHEMA.counts),"
            " reports AS (DELETE FROM SCHEMA.reports)"
            " INSERT INTO SCHEMA.moments VALUES ('since', SCHEMA.clock())"
            " ON CONFLICT (name) DO UPDATE SET at = excluded.at"
        )
        rows = yield self._sql("DELETE FROM SCHEMA.members RETURNING channel, team")
        yield from self._tell_of_leaving(rows)

    # -- inside ----------------------------------------------------------------------------------

    def _addressed(self, item: Outgoing) -> tuple[bool, str, bytes | None, bytes | None, int]:
        """Columns of ``put``: for a group, its name and two forms of the frame; else the reader, frame and capacity."""
        body, headers = item.body, item.headers
        if item.group:
            frame = codec.frame(codec.GROUP, item.target, body, headers)
            return True, item.target, frame, codec.frame(codec.DIRECT, "", body, headers), 0
        reader, local = names.split(item.target)
        whole = codec.frame(codec.DIRECT, local, body, headers) if body else None
        return False, reader, whole, None, self._room(reader)

    def _tell_of_leaving(self, rows: Rows) -> Plan[None]:
        parted = [(*names.split(channel), team) for channel, team in rows]
        frames = [
            (reader, codec.membership_frame(codec.LEAVE, team, local, None)) for reader, local, team in parted if local
        ]
        if frames:
            yield self._sql(
                "SELECT SCHEMA.put_control(%s::text[], %s::bytea[], %s)",
                [reader for reader, _ in frames], [frame for _, frame in frames], self._group_expiry,
            )  # fmt: skip


def _frames(items: Sequence[Outgoing]) -> list[bytes]:
    return [codec.frame(codec.DIRECT, names.split(item.target)[1], item.body, item.headers) for item in items]


def only_reader(items: Sequence[Outgoing]) -> str | None:
    """Return the reader that all the items are for, if they are messages to channels and nothing more."""
    reader = None
    for item in items:
        own = names.split(item.target)[0]
        if item.group or item.last_will is not None or not item.body or own != (reader or own):
            return None
        reader = own
    return reader


def _last_will(item: Outgoing) -> tuple[str | None, str | None, bytes | None, str | None, bool]:
    """Columns of ``send``: whose last will it is, that channel's reader, the frame and its target, ``claims``."""
    last_will = item.last_will
    if last_will is None:
        return None, None, None, None, False
    reader, message = names.split(last_will.channel)[0], last_will.message
    if message is None:
        return last_will.channel, reader, None, None, last_will.claims
    target, local = names.split(message.target)
    frame = codec.frame(codec.DIRECT, local, message.body, message.headers)
    return last_will.channel, reader, frame, target, last_will.claims
