from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import redis

from channel_layer import codec
from channel_layer.capacity import CapacityRules
from channel_layer.delivery import Outgoing
from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable
from channel_layer.layer import Counters
from channel_layer.outcome import Fate, fates
from channel_layer.redis import outage
from channel_layer.redis.hosts import Host
from channel_layer.redis.plan import Planner
from channel_layer.redis.scripts import Call
from channel_layer.redis.sending import Sending
from channel_layer.redis.servers import parse_hosts
from channel_layer.redis.steps import walk
from channel_layer.redis.storage import Storage

from .test_plan import planner_of


@pytest.fixture
def items() -> list[Outgoing]:
    channels = [Outgoing(f"channel-{number}", codec.pack_body({})) for number in range(20)]
    return [*channels, Outgoing("everyone", codec.pack_body({}), group=True)]


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def hosts() -> list[Host]:
    return parse_hosts(["redis://a", "redis://b"], None)


@pytest.fixture
def planner(hosts: list[Host]) -> Planner:
    return planner_of(Storage([host.name for host in hosts], "p:", 60, 60, CapacityRules(7)))


@pytest.fixture
def sending(items: list[Outgoing], counters: Counters, hosts: list[Host], planner: Planner) -> Sending:
    plan = planner.send(items)
    assert sorted(plan.calls) == [0, 1]
    return Sending(plan, counters, hosts)


def all_well(sending: Sending, shard: int) -> list[Any]:
    """The replies of a server that stored everything."""
    return [0 if isinstance(pushed, Outgoing) else None for pushed in sending._plan._pushed[shard]]


def all_full(sending: Sending, shard: int) -> list[Any]:
    """The replies of a server with each channel full."""
    return [1 if isinstance(pushed, Outgoing) else [1] * len(pushed) for pushed in sending._plan._pushed[shard]]


def outcome(sending: Sending, items: list[Outgoing]) -> tuple[LayerUnavailable, dict[Outgoing, Fate]]:
    with pytest.raises(LayerUnavailable) as caught:
        sending.finish()
    return caught.value, dict(zip(items, fates(items, (), caught.value), strict=True))


def test_what_any_server_refused_is_gathered(sending: Sending, items: list[Outgoing]) -> None:
    for shard in (0, 1):
        sending.answered(shard, all_full(sending, shard))
    assert sorted(item.target for item in sending.finish()) == sorted(item.target for item in items[:-1])


def test_a_batch_that_no_server_got_may_be_sent_again(
    sending: Sending, counters: Counters, items: list[Outgoing]
) -> None:
    for shard in (0, 1):
        sending.failed(shard, LayerUnavailable("redis://x", "refused", uncertain=False))
    error, found = outcome(sending, items)
    assert not error.uncertain
    assert set(found.values()) == {Fate.UNSENT}
    assert counters.possible_losses == 0


@pytest.mark.parametrize("answering", [0, 1])
def test_of_a_batch_that_one_server_got_the_rest_may_be_sent_again(
    sending: Sending, counters: Counters, items: list[Outgoing], answering: int
) -> None:
    sending.answered(answering, all_well(sending, answering))
    sending.failed(1 - answering, LayerUnavailable("redis://x", "refused", uncertain=False))
    error, found = outcome(sending, items)
    assert error.uncertain, "those who know nothing of outcomes must not send it all again"
    assert error.reachable
    for item, fate in found.items():
        assert fate is (Fate.STORED if item in sending._plan.messages(answering) else Fate.UNSENT)
    assert counters.possible_losses == 0


@pytest.mark.parametrize(
    ("replies", "fate", "full"),
    [
        ([None], Fate.STORED, 0),
        ([[1]], Fate.STORED, 1),
        ([redis.exceptions.OutOfMemoryError("used memory")], Fate.UNKNOWN, 0),
        (LayerUnavailable("redis://x", "refused", uncertain=False), Fate.UNKNOWN, 0),
    ],
    ids=["all well", "full", "no memory", "away"],
)
def test_a_message_to_a_group_is_passed_on_to_ordinary_channels(
    sending: Sending,
    planner: Planner,
    counters: Counters,
    items: list[Outgoing],
    replies: list[Any] | LayerUnavailable,
    fate: Fate,
    full: int,
) -> None:
    made: list[tuple[int, list[Call]]] = []

    def run(shard: int, calls: Sequence[Call]) -> list[Any]:
        made.append((shard, list(calls)))
        if isinstance(replies, LayerUnavailable):
            raise replies
        return replies

    assert not sending.is_to_be_passed_on
    for shard in (0, 1):
        answers = [[0, b"room", b"a ticket"] if reply == 0 else reply for reply in all_well(sending, shard)]
        sending.answered(shard, answers)
    assert sending.is_to_be_passed_on
    walk(sending.pass_on(planner), run)
    [(shard, [push])] = made
    assert (shard, push.keys[1]) == (planner.storage.host_of("room"), "p:c:room")
    assert push.args[4].endswith(b"a ticket")
    if fate is Fate.STORED:
        assert sending.finish() == []
    else:
        _, found = outcome(sending, items)
        assert found.pop(items[-1]) is fate
        assert set(found.values()) == {Fate.STORED}
    assert counters.group_full == full


def test_only_messages_of_doubtful_fate_are_counted(
    sending: Sending, counters: Counters, items: list[Outgoing]
) -> None:
    sending.answered(0, all_full(sending, 0))
    sending.failed(1, LayerUnavailable("redis://x", "cut off"))
    _, found = outcome(sending, items)
    of_second = sending._plan.messages(1)
    for item, fate in found.items():
        answered = Fate.STORED if item.group else Fate.FULL
        assert fate is (Fate.UNKNOWN if item in of_second else answered)
    assert counters.possible_losses == len(of_second)


def test_a_server_that_stores_nothing_is_told_from_one_that_is_down_and_logged_once(
    sending: Sending, items: list[Outgoing], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = redis.exceptions.OutOfMemoryError("used memory > 'maxmemory'")
    for shard in (0, 1):
        sending.answered(shard, [refusal for _ in all_well(sending, shard)])
    error, found = outcome(sending, items)
    assert error.reachable
    assert not error.uncertain
    assert set(found.values()) == {Fate.UNSENT}
    again = Sending(sending._plan, Counters(), sending._hosts)
    again.answered(0, [refusal for _ in all_well(again, 0)])
    assert caplog.text.count("Redis at redis://a stores nothing more: used memory") == 1
    again.answered(0, all_well(again, 0))
    assert "stores messages again" not in caplog.text, "it may have been for once"
    monkeypatch.setattr(outage, "SURE_SECONDS", 0.0)
    for _ in range(2):
        again.answered(0, all_well(again, 0))
    assert caplog.text.count("Redis at redis://a stores messages again") == 1


def test_a_wrong_configuration_is_said_as_such(sending: Sending) -> None:
    sending.answered(0, [redis.exceptions.NoPermissionError("no EVALSHA"), *all_well(sending, 0)[1:]])
    sending.answered(1, all_well(sending, 1))
    with pytest.raises(LayerConfigurationError, match="no EVALSHA"):
        sending.finish()


def test_only_what_was_surely_stored_has_followers(sending: Sending, items: list[Outgoing]) -> None:
    refusal = redis.exceptions.OutOfMemoryError("used memory > 'maxmemory'")
    sending.answered(0, all_well(sending, 0))
    sending.answered(1, [refusal for _ in all_well(sending, 1)])
    followers = [Outgoing(item.target, b"") for item in items]
    stored = sending.stored(list(zip(items, followers, strict=True)))
    assert [item.target for item in stored] == [item.target for item in items if item not in sending._plan.messages(1)]


def test_who_knows_nothing_of_outcomes_never_sends_again_what_was_stored(items: list[Outgoing]) -> None:
    hosts = parse_hosts(["redis://a", "redis://b"], None)
    sending = Sending(
        planner_of(Storage(["a", "b"], "p:", 60, 60, CapacityRules(7))).send(items[:-1]), Counters(), hosts
    )
    sending.answered(0, [None])
    sending.failed(1, LayerUnavailable("redis://b", "refused", uncertain=False))
    error, found = outcome(sending, items[:-1])
    assert set(found.values()) == {Fate.STORED, Fate.UNSENT}
    assert error.uncertain


@pytest.mark.parametrize("down", [(), (0,), (0, 1)], ids=str)
def test_a_layer_is_reachable_while_one_of_its_servers_is_up(down: tuple[int, ...], items: list[Outgoing]) -> None:
    hosts = parse_hosts(["redis://a", "redis://b"], None)
    for shard in down:
        hosts[shard].outage.is_down = True
    plan = planner_of(Storage(["a", "b"], "p:", 60, 60, CapacityRules(7))).send(items[:1])
    sending = Sending(plan, Counters(), hosts)
    sending.failed(*plan.calls, LayerUnavailable("here", "refused", uncertain=False))
    error, _ = outcome(sending, items[:1])
    assert error.reachable is (len(down) < 2)
