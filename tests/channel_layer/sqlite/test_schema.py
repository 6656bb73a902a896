"""Tables and times."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.sqlite import schema


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def test_a_new_file_gets_its_tables_once(connection: sqlite3.Connection) -> None:
    schema.prepare(connection, "here")
    connection.execute("INSERT INTO frames (channel, expires, control, data) VALUES ('a', 1, 0, x'00')")
    schema.prepare(connection, "here")
    assert connection.execute("SELECT count(*) FROM frames").fetchone() == (1,)


def test_the_file_says_whose_it_is(connection: sqlite3.Connection) -> None:
    schema.prepare(connection, "here")
    assert connection.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)


def test_a_database_of_something_else_is_refused_by_its_path(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE other (x)")
    with pytest.raises(LayerConfigurationError, match="/srv/db is some other program's database"):
        schema.prepare(connection, "/srv/db")


def test_times_do_not_outlive_the_boot_they_belong_to(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema.prepare(connection, "here")
    connection.execute("INSERT INTO readers (reader, seen) VALUES ('process!', 5)")
    monkeypatch.setattr(schema, "BOOT_ID", "the next one")
    schema.prepare(connection, "here")
    assert connection.execute("SELECT count(*) FROM readers").fetchone() == (0,)
    assert connection.execute("SELECT value FROM facts WHERE name = 'boot'").fetchone() == ("the next one",)
