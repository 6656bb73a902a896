"""Statements on memberships."""

from __future__ import annotations

import sqlite3

import pytest

from channel_layer import codec
from channel_layer.sqlite import groups, schema
from channel_layer.upkeep import GONE_SECONDS


def opened(frames: groups.Frames) -> list[tuple[str, list[object]]]:
    return [(reader, codec.unpack_frame(frame, 1000)) for reader, frame in frames]


def test_adding_and_discarding_tell_the_process_of_its_member(store: sqlite3.Connection) -> None:
    assert opened(groups.add(store, "group", "process!a", 60)) == [("process!", [codec.JOIN, "group", "a", 60])]
    assert opened(groups.discard(store, "group", "process!a")) == [("process!", [codec.LEAVE, "group", "a", None])]
    assert groups.add(store, "group", "plain", 60) == []
    assert groups.discard(store, "group", "plain") == []


def test_each_reader_is_named_once_however_many_members_it_has(store: sqlite3.Connection) -> None:
    for n in range(50):
        groups.add(store, "group", f"one!{n}", 60)
        groups.add(store, "group", f"two!{n}", 60)
    groups.add(store, "group", "plain", 60)
    groups.add(store, "another", "three!x", 60)
    assert groups.readers(store, "group", schema.clock()) == ["one!", "plain", "two!"]
    assert groups.readers(store, "deserted", schema.clock()) == []
    assert len(groups.channels(store, "group")) == 101


def test_expired_members_are_not_found(store: sqlite3.Connection) -> None:
    groups.add(store, "group", "one!a", 10)
    groups.add(store, "group", "plain", 100)
    now = schema.clock()
    assert groups.readers(store, "group", now + 50) == ["plain"]
    assert groups.readers(store, "group", now + 500) == []


def test_a_silent_reader_is_passed_over_until_it_gives_a_sign(store: sqlite3.Connection) -> None:
    groups.add(store, "group", "one!a", 1000)
    assert not groups.beat(store, "one!")
    assert groups.beat(store, "one!")
    later = schema.clock() + groups.SILENT_SECONDS + 1
    assert groups.readers(store, "group", later) == []
    store.execute("UPDATE readers SET seen = ?", (later,))
    assert groups.readers(store, "group", later) == ["one!"]


def test_a_reader_that_never_read_yet_is_not_silent(store: sqlite3.Connection) -> None:
    groups.add(store, "group", "one!a", 1000)
    assert groups.readers(store, "group", schema.clock() + 500) == ["one!"]


def test_a_reader_that_is_gone_is_removed_with_its_members(store: sqlite3.Connection) -> None:
    for reader in ("gone!", "kept!"):
        groups.add(store, "group", f"{reader}a", 1000)
        groups.beat(store, reader)
    later = schema.clock() + GONE_SECONDS + 1
    store.execute("UPDATE readers SET seen = ? WHERE reader = 'kept!'", (later,))
    groups.drop_gone(store, later)
    assert store.execute("SELECT channel FROM members").fetchall() == [("kept!a",)]
    assert store.execute("SELECT reader FROM readers").fetchall() == [("kept!",)]


def test_memberships_can_be_put_back(store: sqlite3.Connection) -> None:
    groups.restore(store, "one!", [("group", "a", 100.0), ("another", "a", 100.0)])
    assert groups.channels(store, "group") == ["one!a"]
    [(expires,)] = store.execute("SELECT expires FROM members WHERE team = 'group'").fetchall()
    assert expires == pytest.approx(schema.clock() + 100, abs=10)


def test_a_lifetime_is_only_ever_prolonged(store: sqlite3.Connection) -> None:
    def seconds_left() -> float:
        [(expires,)] = store.execute("SELECT expires FROM members").fetchall()
        return float(expires - schema.clock())

    groups.add(store, "group", "one!a", 100)
    groups.add(store, "group", "one!a", 10)
    assert seconds_left() == pytest.approx(100, abs=5)
    groups.restore(store, "one!", [("group", "a", 20.0)])
    assert seconds_left() == pytest.approx(100, abs=5)
    groups.add(store, "group", "one!a", 200)
    assert seconds_left() == pytest.approx(200, abs=5)
    groups.discard(store, "group", "one!a")
    groups.add(store, "group", "one!a", 10)
    assert seconds_left() == pytest.approx(10, abs=5)


def test_members_of_who_may_be_silent_for_longer_are_kept_for_longer(store: sqlite3.Connection) -> None:
    groups.add(store, "group", "one!a", 10_000)
    groups.beat(store, "one!", silent=900)
    now = schema.clock()
    groups.drop_gone(store, now + GONE_SECONDS + 1, silent=900)
    assert groups.channels(store, "group", silent=900) == ["one!a"]
    groups.drop_gone(store, now + 1801, silent=900)
    assert groups.channels(store, "group", silent=900) == []


def test_forgetting_names_every_group_the_channel_was_in(store: sqlite3.Connection) -> None:
    for group in ("x", "y"):
        groups.add(store, group, "one!a", 60)
        groups.add(store, group, "one!b", 60)
    frames = opened(groups.forget(store, "one!a"))
    assert sorted(frame[1] for _, frame in frames) == ["x", "y"]
    assert groups.forget(store, "one!a") == []
    assert groups.channels(store, "x") == ["one!b"]


def test_dissolving_tells_every_process_of_every_member(store: sqlite3.Connection) -> None:
    groups.add(store, "x", "one!a", 60)
    groups.add(store, "y", "two!b", 60)
    groups.add(store, "y", "plain", 60)
    assert sorted(reader for reader, _ in groups.dissolve(store)) == ["one!", "two!"]
    assert store.execute("SELECT count(*) FROM members").fetchone() == (0,)
