"""Looks at the file."""

from __future__ import annotations

import sqlite3

from channel_layer import codec
from channel_layer.sqlite import groups, inspection, queues, schema


def prepared() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.prepare(connection, "here")
    return connection


def test_what_is_put_back_keeps_its_mark() -> None:
    connection = prepared()
    frame = codec.frame(codec.DIRECT, "", codec.pack_body({"n": 1}))
    queues.put_front(connection, "work", [(frame, None)], 60)
    [before] = inspection.look(connection, "work", 10, False, 60)
    frames, _ = queues.take(connection, "work", 1)
    queues.put_front(connection, "work", frames, 60)
    assert inspection.look(connection, "work", 10, True, 60)[0].mark == before.mark
    connection.close()


def test_members_of_a_process_that_is_silent_are_not_counted() -> None:
    connection = prepared()
    groups.add(connection, "team", "process!a", 600)
    groups.add(connection, "team", "plain", 600)
    groups.beat(connection, "process!")
    assert inspection.group_sizes(connection, 10, 30) == (1, [("team", 2)])
    assert inspection.group_sizes(connection, 10, -1) == (1, [("team", 1)])
    assert inspection.group_members(connection, "team", 10, -1) == (1, ["plain"])
    connection.close()
