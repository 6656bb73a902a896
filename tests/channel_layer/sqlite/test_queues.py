"""Statements that move frames."""

from __future__ import annotations

import sqlite3

import pytest

from channel_layer import codec
from channel_layer.capacity import CapacityRules
from channel_layer.delivery import Outgoing
from channel_layer.sqlite import queues, schema

BODY = codec.pack_body({})


def put(store: sqlite3.Connection, *targets: str, capacity: int = 100, expiry: float = 60) -> list[str]:
    """Put an empty message on each channel; returns those that were refused."""
    items = [Outgoing(target, BODY) for target in targets]
    return [item.target for item in queues.Putting(store, CapacityRules(capacity), expiry).put(items)]


def taken_from(store: sqlite3.Connection, reader: str, limit: int) -> list[bytes]:
    return [frame for frame, _ in queues.take(store, reader, limit)[0]]


def pending(store: sqlite3.Connection) -> dict[str, int]:
    return dict(store.execute("SELECT name, pending FROM counts WHERE pending != 0").fetchall())


def test_frames_come_out_in_the_order_they_went_in(store: sqlite3.Connection) -> None:
    for n in range(20):
        queues.put_control(store, [("room", b"%d" % n), ("other", b"x")], 60)
    taken = [frame for _ in range(4) for frame in taken_from(store, "room", 5)]
    assert taken == [b"%d" % n for n in range(20)]


def test_what_is_put_in_front_comes_first_even_twice(store: sqlite3.Connection) -> None:
    queues.put_control(store, [("room", b"last")], 60)
    queues.put_front(store, "room", [(b"3", None), (b"4", None)], 60)
    queues.put_front(store, "room", [(b"1", None), (b"2", None)], 60)
    queues.put_front(store, "room", [], 60)
    assert taken_from(store, "room", 9) == [b"1", b"2", b"3", b"4", b"last"]
    queues.put_front(store, "room", [(b"alone", None)], 60)
    queues.put_control(store, [("room", b"after")], 60)
    assert taken_from(store, "room", 9) == [b"alone", b"after"]


def test_what_waits_is_counted_until_it_is_taken(store: sqlite3.Connection) -> None:
    put(store, "room", "room", "process!a", "process!b", "body?x")
    queues.put_control(store, [("room", b"control")], 60)
    assert pending(store) == {"room": 2, "process!": 2, "body?x": 1}
    for reader in ("room", "process!", "body?x"):
        queues.take(store, reader, 9)
    assert pending(store) == {}


def test_what_is_put_back_counts_as_waiting_again(store: sqlite3.Connection) -> None:
    put(store, "room", "room", "room")
    frames, _ = queues.take(store, "room", 2)
    queues.put_front(store, "room", frames, 60)
    assert pending(store) == {"room": 3}
    assert put(store, "room", capacity=3) == ["room"]
    queues.take(store, "room", 9)
    assert pending(store) == {}


def test_single_reader_channels_leave_no_row_behind(store: sqlite3.Connection) -> None:
    for n in range(10):
        put(store, f"body?{n}")
        queues.take(store, f"body?{n}", 1)
    put(store, "body?late", expiry=0.001)
    queues.drop_expired(store, schema.clock() + 1)
    assert store.execute("SELECT name, sent FROM counts").fetchall() == [("body?", 11)]


def test_later_messages_of_a_batch_are_refused_after_the_first(store: sqlite3.Connection) -> None:
    assert put(store, "room", "room", "other", "room", "room", capacity=2) == ["room", "room"]
    assert queues.statistics(store, "room")["channel_full_count"] == 2
    assert queues.statistics(store, None)["messages_count"] == 3


def test_expired_frames_are_dropped_and_counted(store: sqlite3.Connection) -> None:
    put(store, "room", "room")
    put(store, "other")
    store.execute("UPDATE frames SET expires = 0 WHERE channel = 'room'")
    queues.put_control(store, [("room", b"control")], 60)
    [(frame, _)], expired = queues.take(store, "room", 9)
    assert (frame, expired) == (b"control", 2)
    assert pending(store) == {"other": 1}


def test_dropping_expired_frames_of_one_channel_leaves_the_others(store: sqlite3.Connection) -> None:
    put(store, "room", "other")
    store.execute("UPDATE frames SET expires = 0")
    assert queues.drop_expired(store, schema.clock(), "room") == 1
    assert pending(store) == {"other": 1}
    assert queues.drop_expired(store, schema.clock()) == 1
    assert pending(store) == {}


def test_waiting_names_only_channels_on_which_something_lies(store: sqlite3.Connection) -> None:
    put(store, "a", "b", "z")
    assert sorted(queues.waiting(store, ["a", "b", "c"])) == ["a", "b"]
    assert queues.waiting(store, ["c"]) == []
    assert queues.waiting(store, []) == []
    assert len(queues.waiting(store, ["a", *(f"none.{n}" for n in range(500))])) == 1


def test_waiting_puts_no_channel_first_always(store: sqlite3.Connection) -> None:
    put(store, "a", "b")
    assert {queues.waiting(store, ["a", "b"])[0] for _ in range(100)} == {"a", "b"}


def test_the_backlog_counts_messages_and_their_age(store: sqlite3.Connection) -> None:
    assert queues.backlog(store, "room", 60) == {"messages_pending": 0, "messages_max_age": 0.0}
    put(store, "room", "room")
    store.execute("UPDATE frames SET expires = expires - 10 WHERE id = 1")
    found = queues.backlog(store, "room", 60)
    assert found["messages_pending"] == 2
    assert found["messages_max_age"] == pytest.approx(10, abs=5)
