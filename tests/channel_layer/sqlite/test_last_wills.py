"""Statements on last wills."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from channel_layer import codec
from channel_layer.capacity import CapacityRules
from channel_layer.delivery import LastWill, Outgoing
from channel_layer.sqlite import groups, last_wills, schema
from channel_layer.sqlite.queues import Putting
from channel_layer.sqlite.sweep import sweep
from channel_layer.upkeep import GONE_SECONDS, NEWS_SECONDS

PRESENCE = 30.0
GRACE = PRESENCE / 3


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``passes(seconds)`` lets time pass for the statements."""
    now = schema.clock()

    def move(seconds: float) -> None:
        nonlocal now
        now += seconds

    for module in (groups, last_wills):
        monkeypatch.setattr(module, "clock", lambda: now)
    return move


def left(channel: str) -> LastWill:
    return LastWill(channel, Outgoing("gone", codec.pack_body({"name": channel}), {"turn": 1}))


class Target:
    """A channel with so much room."""

    def __init__(self, room: int = 1000) -> None:
        self.frames: list[Any] = []
        self._room = room

    def put(self, channel: str, frame: bytes) -> bool:
        if len(self.frames) >= self._room:
            return False
        self.frames.append((channel, codec.unpack_frame(frame, 1000)))
        return True

    @property
    def names(self) -> list[str]:
        return [frame[2]["name"] for _, frame in self.frames]


def carried_out(store: sqlite3.Connection, reader: str = "process!", target: Target | None = None) -> list[str]:
    target = target or Target()
    last_wills.carry_out(store, reader, PRESENCE, target.put)
    return target.names


def test_a_process_is_silent_when_neither_it_nor_its_last_wills_are_new(store: sqlite3.Connection, passes: Any) -> None:
    groups.beat(store, "process!")
    last_wills.settle(store, left("process!a"))
    last_wills.settle(store, left("unread!a"))
    assert last_wills.silent(store, PRESENCE) == []
    passes(PRESENCE - 1)
    last_wills.settle(store, left("unread!b"))
    passes(2)
    assert last_wills.silent(store, PRESENCE) == ["process!"]
    passes(PRESENCE)
    assert last_wills.silent(store, PRESENCE) == ["process!", "unread!"]
    groups.beat(store, "process!")
    assert last_wills.silent(store, PRESENCE) == ["unread!"]


def test_a_process_is_doubted_before_its_last_wills_are_carried_out(store: sqlite3.Connection, passes: Any) -> None:
    groups.beat(store, "process!")
    last_wills.settle(store, left("process!a"))
    passes(PRESENCE + 1)
    assert carried_out(store) == []
    passes(GRACE - 1)
    assert carried_out(store) == []
    passes(2)
    target = Target()
    assert carried_out(store, target=target) == ["process!a"]
    assert target.frames[0] == ("gone", [codec.DIRECT, "", {"name": "process!a"}, {"turn": 1}])
    assert carried_out(store) == []
    assert last_wills.silent(store, PRESENCE) == []


def test_a_heartbeat_ends_the_doubt_and_an_old_one_counts_for_nothing(store: sqlite3.Connection, passes: Any) -> None:
    groups.beat(store, "process!")
    last_wills.settle(store, left("process!a"))
    passes(PRESENCE + 1)
    assert carried_out(store) == []
    groups.beat(store, "process!")
    passes(PRESENCE + 1)
    assert carried_out(store) == []
    passes(10 * GRACE)
    assert carried_out(store) == [], "everybody was held up, it seems"
    passes(GRACE)
    assert carried_out(store) == ["process!a"]


def test_chunks_and_full_channels_leave_the_rest(
    store: sqlite3.Connection, passes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_wills, "CHUNK", 3)
    for n in range(7):
        last_wills.settle(store, left(f"unread!{n}"))
    passes(PRESENCE + 1)
    target = Target(room=4)
    assert last_wills.carry_out(store, "unread!", PRESENCE, target.put)
    assert not last_wills.carry_out(store, "unread!", PRESENCE, target.put)
    rest = Target()
    while last_wills.carry_out(store, "unread!", PRESENCE, rest.put):
        continue
    assert sorted(target.names + rest.names) == [f"unread!{n}" for n in range(7)]


def test_who_comes_back_learns_which_of_its_last_wills_were_carried_out(store: sqlite3.Connection, passes: Any) -> None:
    assert not groups.beat(store, "process!", PRESENCE)
    assert groups.beat(store, "process!", PRESENCE)
    last_wills.settle(store, left("process!a"))
    passes(PRESENCE + 1)
    carried_out(store)
    passes(GRACE + 1)
    carried_out(store)
    assert not groups.beat(store, "process!", PRESENCE)
    assert last_wills.carried_out(store, "process!") == {"a"}
    assert last_wills.is_settled(store, LastWill("process!a", None))
    assert not last_wills.is_settled(store, LastWill("process!b", None))
    assert not last_wills.is_settled(store, left("process!a"))
    assert last_wills.is_settled(store, LastWill("process!b", None, claims=True))


def test_a_process_that_has_left_last_wills_is_remembered_until_they_were_carried_out(
    store: sqlite3.Connection, passes: Any
) -> None:
    for reader in ("with!", "without!"):
        groups.beat(store, reader)
    last_wills.settle(store, left("with!a"))
    groups.drop_gone(store, schema.clock() + GONE_SECONDS + 1)
    assert store.execute("SELECT reader FROM readers").fetchall() == [("with!",)]


def test_old_news_are_swept_away(store: sqlite3.Connection, passes: Any) -> None:
    last_wills.settle(store, left("unread!a"))
    passes(PRESENCE + 1)
    carried_out(store, "unread!")
    store.execute("UPDATE wills SET sent = sent - ?", (2 * NEWS_SECONDS,))
    store.execute("UPDATE facts SET value = 0 WHERE name = 'swept'")
    sweep(store)
    assert store.execute("SELECT count(*) FROM wills").fetchone() == (0,)


def test_putting_settles_a_last_will_only_with_its_message(store: sqlite3.Connection) -> None:
    item = Outgoing("connect", codec.pack_body({}))
    refused = Outgoing("connect", codec.pack_body({}))
    item.last_will, refused.last_will = left("process!a"), left("process!b")
    assert Putting(store, CapacityRules(1), 60).put([item, refused]) == [refused]
    assert store.execute("SELECT channel FROM wills").fetchall() == [("process!a",)]
