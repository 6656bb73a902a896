"""Removing what nobody comes for."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from channel_layer.sqlite import queues, schema
from channel_layer.sqlite.database import Database
from channel_layer.sqlite.location import Location
from channel_layer.sqlite.sweep import SPARE_PAGES, sweep


def due(store: sqlite3.Connection) -> None:
    store.execute("UPDATE facts SET value = 0 WHERE name = 'swept'")


def test_it_happens_at_most_once_in_a_while(store: sqlite3.Connection) -> None:
    queues.put_front(store, "room", [(b"1", None), (b"2", None)], 60)
    store.execute("UPDATE frames SET expires = 0")
    assert sweep(store) == 0
    due(store)
    assert sweep(store) == 2
    queues.put_front(store, "room", [(b"3", None)], 60)
    store.execute("UPDATE frames SET expires = 0")
    assert sweep(store) == 0


def test_expired_memberships_go_too(store: sqlite3.Connection) -> None:
    store.execute("INSERT INTO members VALUES ('group', 'plain', 'plain', ?)", (schema.clock() - 1,))
    due(store)
    sweep(store)
    assert store.execute("SELECT count(*) FROM members").fetchone() == (0,)


def test_space_that_a_burst_took_is_given_back(tmp_path: Path) -> None:
    database = Database(Location(tmp_path / "layer.sqlite3"))

    def pages(connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA page_count").fetchone()[0])

    try:
        database.write(lambda c: queues.put_front(c, "room", [(b"x" * 1_000_000, None)] * 12, 60))
        full = database.read(pages)
        database.write(lambda c: queues.take(c, "room", 12))
        database.write(due)
        database.write(sweep)
        assert database.read(pages) < full - 1000
        assert database.read(pages) <= SPARE_PAGES + 100
    finally:
        database.close()
