"""Tables of the file, and making them.

=========  ==============================================================================
frames     what lies on the channels, in the order of ``id``. ``control`` frames tell a process of
           its members; they count as no messages.
counts     per channel: messages that wait; per channel, single-reader ones up to their ``?``:
           messages sent and refused since the last flush.
members    who is in which group, ``reader`` being the part of the channel that is read
           together. Its key lets one step from reader to reader.
readers    process-specific channels that somebody reads, and when they last gave a heartbeat;
           ``doubted``: since when they seem to be gone.
wills      what to send for which channel if its process disappears, and when that was left.
           ``sent``: when it was carried out, after which it is only kept as the news of that.
reports    what each process said last of itself, when, and when that is dropped.
facts      which boot of the machine the times belong to; times of the last flush and sweep.
=========  ==============================================================================

All times are seconds of `clock`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from ..exceptions import LayerConfigurationError

APPLICATION_ID = 0x4D696C6C
VERSION = 2

_TABLES = """
CREATE TABLE frames (
    id INTEGER PRIMARY KEY, channel TEXT NOT NULL, expires REAL NOT NULL, control INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX frames_by_channel ON frames (channel);
CREATE TABLE counts (
    name TEXT PRIMARY KEY, pending INTEGER NOT NULL, sent INTEGER NOT NULL, refused INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE members (
    team TEXT NOT NULL, reader TEXT NOT NULL, channel TEXT NOT NULL, expires REAL NOT NULL,
    PRIMARY KEY (team, reader, channel)
) WITHOUT ROWID;
CREATE INDEX members_by_channel ON members (channel);
CREATE TABLE readers (reader TEXT PRIMARY KEY, seen REAL NOT NULL, doubted REAL) WITHOUT ROWID;
CREATE TABLE wills (
    reader TEXT NOT NULL, channel TEXT NOT NULL, target TEXT NOT NULL, data BLOB NOT NULL,
    made REAL NOT NULL, sent REAL, PRIMARY KEY (reader, channel)
) WITHOUT ROWID;
CREATE INDEX wills_to_send ON wills (reader) WHERE sent IS NULL;
CREATE TABLE facts (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
"""

_REPORTS = """
CREATE TABLE IF NOT EXISTS reports (
    process TEXT PRIMARY KEY, made REAL NOT NULL, ends REAL NOT NULL, data BLOB NOT NULL
) WITHOUT ROWID
"""
"""Not in every file of this version: processes that know no reports may have made it, and may use it still."""


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


BOOT_ID = _boot_id()

clock: Callable[[], float] = time.monotonic if BOOT_ID else time.time
"""Seconds that all processes of the machine agree on. Linux's monotonic clock is one for all and does
not jump; it starts anew with each boot, which `BOOT_ID` tells apart."""


def prepare(connection: sqlite3.Connection, where: str) -> None:
    """Make the tables in a new file, and empty a file from before the machine was started.

    Call it inside a transaction that may write.

    Raises:
        LayerConfigurationError: the file belongs to something else.
    """
    application, version, tables = connection.execute(
        "SELECT (SELECT application_id FROM pragma_application_id),"
        " (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_master)"
    ).fetchone()
    if tables == 0:
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    elif application != APPLICATION_ID:
        raise LayerConfigurationError(
            f"{where} is some other program's database. Set a file of its own for the channel layer (CONFIG: path)."
        )
    elif version != VERSION:
        raise LayerConfigurationError(
            f"{where} was made by another version of this software (format {version}, this one writes {VERSION}). "
            "Stop all processes that use it and delete it; it holds nothing but messages on their way."
        )
    connection.execute(_REPORTS)
    boot = connection.execute("SELECT value FROM facts WHERE name = 'boot'").fetchone()
    if boot != (BOOT_ID,):
        for table in ("frames", "counts", "members", "readers", "wills", "reports", "facts"):
            connection.execute(f"DELETE FROM {table}")
        facts = {"boot": BOOT_ID, "since": clock(), "swept": clock()}
        connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
