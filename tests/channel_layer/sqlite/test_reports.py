"""Reports of processes in the file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from channel_layer.sqlite import SqliteChannelLayer, reports, schema


def prepared() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.prepare(connection, "here")
    return connection


def test_reports_are_dropped_by_the_sweep_when_their_time_is_over() -> None:
    connection = prepared()
    reports.put(connection, "web.one", b"1", 10)
    reports.put(connection, "web.two", b"2", 100)
    reports.drop_old(connection, schema.clock() + 20)
    assert [name for name, _, _ in reports.kept(connection)] == ["web.two"]
    connection.close()


def test_a_file_from_before_there_were_reports_gets_room_for_them(tmp_path: Path) -> None:
    older = sqlite3.connect(tmp_path / "file.sqlite3", isolation_level=None)
    schema.prepare(older, "here")
    older.execute("DROP TABLE reports")
    older.close()
    layer = SqliteChannelLayer(tmp_path / "file.sqlite3")
    try:
        layer.publish_report("web.one", {"n": 1})
        assert [report.name for report in layer.reports()] == ["web.one"]
    finally:
        layer.close()
