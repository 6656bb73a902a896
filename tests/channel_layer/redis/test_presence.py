from __future__ import annotations

import pytest

from channel_layer.capacity import CapacityRules
from channel_layer.members import MembershipIndex
from channel_layer.redis import presence as module
from channel_layer.redis.presence import Presence
from channel_layer.redis.storage import Storage

from .test_plan import planner_of


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    fake = Time()
    monkeypatch.setattr(module, "time", fake)
    return fake


@pytest.fixture
def index() -> MembershipIndex:
    return MembershipIndex()


@pytest.fixture
def presence(index: MembershipIndex, time: Time) -> Presence:
    return Presence(planner_of(Storage(["redis://x"], "p:", 60, 60, CapacityRules(7))), index)


def test_presence_is_set_at_first_and_then_renewed_every_two_seconds(presence: Presence, time: Time) -> None:
    [first] = presence.due(0, ["d!"])
    assert first.args[:3] == ("SET", "p:p:d!", 7)
    assert presence.due(0, ["d!"]) == []
    time.now += 2
    [renewal] = presence.due(0, ["d!"])
    assert renewal.args == ("PEXPIRE", "p:p:d!", 30_000)


def test_ordinary_channels_have_no_presence(presence: Presence) -> None:
    assert presence.due(0, ["http.request"]) == []


def test_a_renewal_without_an_answer_means_that_the_data_is_gone(presence: Presence) -> None:
    assert presence.lost(0, ["d!", "http.request"], [None]) == ["d!"]
    assert presence.lost(0, ["d!"], [b"OK"]) == []
    assert presence.lost(0, ["d!"], []) == []


def test_after_a_lost_connection_the_next_pop_renews_at_once(presence: Presence) -> None:
    presence.due(0, ["d!"])
    presence.reconnect(0, ["d!"])
    [renewal] = presence.due(0, ["d!"])
    assert renewal.args == ("PEXPIRE", "p:p:d!", 30_000)


def test_who_could_never_say_so_before_the_connection_was_lost_has_perhaps_lost_something(presence: Presence) -> None:
    presence.reconnect(0, ["d!", "http.request"])
    [renewal] = presence.due(0, ["d!", "http.request"])
    assert renewal.args == ("PEXPIRE", "p:p:d!", 30_000)


def test_a_renewal_after_too_long_counts_as_lost_though_there_is_a_presence(presence: Presence, time: Time) -> None:
    assert presence.lost(0, ["d!"], [b"OK"]) == []
    time.now += 20
    assert presence.lost(0, ["d!", "http.request"], [b"OK"]) == []
    time.now += 25
    assert presence.lost(0, ["d!", "http.request"], [b"OK"]) == ["d!"]
    assert presence.lost(0, ["d!"], [b"OK"]) == []


def test_all_memberships_are_put_back_in_batches(
    presence: Presence, index: MembershipIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESTORE_BATCH", 2)
    for number in range(3):
        index.join("d!", "g", f"c{number}", 50)
    batches = list(presence.restore("d!", 0))
    joins = [call for batch in batches for call in batch if call.script is not None]
    assert len(batches) > 1
    assert sorted(call.args[1] for call in joins) == ["c0", "c1", "c2"]
    assert all(0 < call.args[2] <= 50_000 for call in joins)
    assert all(call.args[6] == b"" for call in joins), "the process knows of them already"


def test_what_was_not_put_back_is_put_back_with_the_next_renewal(presence: Presence) -> None:
    assert presence.lost(0, ["d!"], [0]) == ["d!"]
    presence.restore_again(0, ["d!"])
    assert presence.lost(0, ["d!"], [1]) == ["d!"]
    assert presence.lost(0, ["d!"], [1]) == []
