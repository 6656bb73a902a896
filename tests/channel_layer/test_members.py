"""The index of a process's own members."""

from __future__ import annotations

from typing import Any

import pytest

from channel_layer.members import MembershipIndex

from .interleaving import Intruder


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def index(clock: Clock) -> MembershipIndex:
    return MembershipIndex(clock)


def test_members_are_kept_per_reader_and_group(index: MembershipIndex) -> None:
    index.join("one!", "group", "a", 60)
    index.join("one!", "group", "b", 60)
    index.join("one!", "another", "c", 60)
    index.join("other!", "group", "d", 60)
    assert sorted(index.members("one!", "group")) == ["a", "b"]
    assert index.members("one!", "another") == ("c",)
    assert index.members("other!", "group") == ("d",)
    assert index.members("other!", "another") == ()
    assert index.members("unknown!", "group") == ()


def test_who_left_is_gone(index: MembershipIndex) -> None:
    index.join("one!", "group", "a", 60)
    index.leave("one!", "group", "a")
    index.leave("one!", "group", "a")
    index.leave("unknown!", "group", "a")
    assert index.members("one!", "group") == ()
    assert list(index.memberships("one!")) == []


def test_a_snapshot_does_not_change_afterwards(index: MembershipIndex) -> None:
    index.join("one!", "group", "a", 60)
    before = index.members("one!", "group")
    index.join("one!", "group", "b", 60)
    index.leave("one!", "group", "a")
    assert before == ("a",)
    assert index.members("one!", "group") == ("b",)


def test_a_snapshot_is_shared_until_something_changes(index: MembershipIndex) -> None:
    index.join("one!", "group", "a", 60)
    assert index.members("one!", "group") is index.members("one!", "group")


def test_a_membership_ends_in_time_unless_renewed(index: MembershipIndex, clock: Clock) -> None:
    index.join("one!", "group", "a", 10)
    index.join("one!", "group", "b", 10)
    assert len(index.members("one!", "group")) == 2
    clock.now += 9
    index.join("one!", "group", "b", 10)
    clock.now += 1
    assert index.members("one!", "group") == ("b",)
    clock.now += 9
    assert index.members("one!", "group") == ()


def test_who_joins_again_for_a_shorter_time_stays_for_the_longer(index: MembershipIndex, clock: Clock) -> None:
    index.join("one!", "group", "a", 100)
    index.join("one!", "group", "a", 10)
    index.join("one!", "group", "b", 10)
    clock.now += 11
    assert index.members("one!", "group") == ("a",)
    index.leave("one!", "group", "a")
    index.join("one!", "group", "a", 10)
    clock.now += 11
    assert index.members("one!", "group") == ()


def test_forgetting_removes_a_local_part_everywhere_and_says_where_it_was(index: MembershipIndex) -> None:
    for group in ("x", "y"):
        index.join("one!", group, "a", 60)
        index.join("one!", group, "b", 60)
        index.join("other!", group, "a", 60)
    assert index.forget("one!", "a") == ["x", "y"]
    assert index.forget("one!", "a") == []
    assert index.members("one!", "x") == ("b",)
    assert index.members("other!", "x") == ("a",)


def test_memberships_tell_what_can_be_put_back(index: MembershipIndex, clock: Clock) -> None:
    index.join("one!", "group", "a", 60)
    index.join("one!", "group", "gone", 5)
    index.join("other!", "group", "b", 60)
    clock.now += 10
    assert list(index.memberships("one!")) == [("group", "a", 50.0)]
    assert list(index.memberships("other!")) == [("group", "b", 50.0)]


def test_nothing_is_left_behind_when_everybody_has_gone(index: MembershipIndex) -> None:
    for n in range(100):
        index.join("one!", f"group.{n}", f"local.{n}", 60)
        index.members("one!", f"group.{n}")
        index.forget("one!", f"local.{n}")
    assert not index._groups["one!"]
    assert not index._joined
    assert not index._snapshots


class Interrupted(dict[str, float]):
    """Members of a group; who goes through them is interrupted on the way."""

    def __init__(self, members: dict[str, float], intruder: Intruder) -> None:
        super().__init__(members)
        self._intruder = intruder

    def values(self) -> Any:
        self._intruder()
        return super().values()

    def items(self) -> Any:
        for item in super().items():
            self._intruder()
            yield item


def interrupted(index: MembershipIndex, intruder: Intruder) -> None:
    index.join("one!", "group", "a", 60)
    index._groups["one!"]["group"] = Interrupted(index._groups["one!"]["group"], intruder)


def test_who_joins_while_the_members_are_collected_is_not_overlooked_afterwards(index: MembershipIndex) -> None:
    intruder = Intruder(lambda: index.join("one!", "group", "b", 60))
    interrupted(index, intruder)
    index.members("one!", "group")
    intruder.finish()
    assert sorted(index.members("one!", "group")) == ["a", "b"]


def test_who_joins_while_memberships_are_listed_disturbs_nobody(index: MembershipIndex) -> None:
    intruder = Intruder(lambda: index.join("one!", "group", "b", 60))
    interrupted(index, intruder)
    assert [local for _, local, _ in index.memberships("one!")] == ["a"]
    intruder.finish()


def test_clear_forgets_everything(index: MembershipIndex) -> None:
    index.join("one!", "group", "a", 60)
    index.members("one!", "group")
    index.clear()
    assert index.members("one!", "group") == ()
    assert index.forget("one!", "a") == []


def test_the_groups_of_a_member_are_those_it_is_in_now(index: MembershipIndex, clock: Clock) -> None:
    index.join("daphne.a!", "rooms", "x", 10)
    index.join("daphne.a!", "all", "x", 100)
    index.join("daphne.a!", "others", "y", 100)
    index.join("daphne.b!", "elsewhere", "x", 100)
    assert index.groups_of("daphne.a!", "x") == ["all", "rooms"]
    clock.now += 50
    assert index.groups_of("daphne.a!", "x") == ["all"]
    index.leave("daphne.a!", "all", "x")
    assert index.groups_of("daphne.a!", "x") == index.groups_of("daphne.z!", "x") == []
