from __future__ import annotations

import pytest
import redis

from channel_layer import codec
from channel_layer.capacity import CapacityRules
from channel_layer.delivery import Outgoing
from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable
from channel_layer.layer import Counters
from channel_layer.outcome import Fate, fates
from channel_layer.redis import outage
from channel_layer.redis.sending import Sending
from channel_layer.redis.servers import parse_hosts
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
def sending(items: list[Outgoing], counters: Counters) -> Sending:
    hosts = parse_hosts(["redis://a", "redis://b"], None)
    plan = planner_of(Storage([host.name for host in hosts], "p:", 60, 60, CapacityRules(7))).send(items)
    assert sorted(plan.calls) == [0, 1]
    return Sending(plan, counters, hosts)


def outcome(sending: Sending, items: list[Outgoing]) -> tuple[LayerUnavailable, dict[Outgoing, Fate]]:
    with pytest.raises(LayerUnavailable) as caught:
        sending.finish()
    return caught.value, dict(zip(items, fates(items, (), caught.value), strict=True))


def test_what_any_server_refused_is_gathered(sending: Sending, items: list[Outgoing]) -> None:
    for shard in (0, 1):
        with sending.to(shard):
            replies = [
                1 if isinstance(pushed, Outgoing) else [1] * len(pushed) for pushed in sending._plan._pushed[shard]
            ]
            sending.answered(shard, replies)
    assert sorted(item.target for item in sending.finish()) == sorted(item.target for item in items[:-1])


def test_a_batch_that_no_server_got_may_be_sent_again(
    sending: Sending, counters: Counters, items: list[Outgoing]
) -> None:
    for shard in (0, 1):
        with sending.to(shard):
            raise LayerUnavailable("redis://x", "refused", uncertain=False)
    error, found = outcome(sending, items)
    assert not error.uncertain
    assert set(found.values()) == {Fate.UNSENT}
    assert counters.possible_losses == 0


def test_of_a_batch_that_one_server_got_the_rest_may_be_sent_again_but_for_groups(
    sending: Sending, counters: Counters, items: list[Outgoing]
) -> None:
    with sending.to(0):
        sending.answered(0, [None, 0])
    with sending.to(1):
        raise LayerUnavailable("redis://x", "refused", uncertain=False)
    error, found = outcome(sending, items)
    assert error.uncertain, "those who know nothing of outcomes must not send it all again"
    assert error.reachable
    assert found.pop(items[-1]) is Fate.UNKNOWN, "some of the group have it already"
    for item, fate in found.items():
        assert fate is (Fate.UNSENT if item in sending._plan.messages(1) else Fate.STORED)
    assert counters.possible_losses == 1


def test_only_messages_of_doubtful_fate_are_counted(
    sending: Sending, counters: Counters, items: list[Outgoing]
) -> None:
    with sending.to(0):
        sending.answered(0, [[1] * len(sending._plan._pushed[0][0]), 0])
    with sending.to(1):
        raise LayerUnavailable("redis://x", "cut off")
    _, found = outcome(sending, items)
    of_second = sending._plan.messages(1)
    for item, fate in found.items():
        assert fate is (Fate.UNKNOWN if item in of_second else Fate.FULL)
    assert counters.possible_losses == len(of_second)


def test_a_server_that_stores_nothing_is_told_from_one_that_is_down_and_logged_once(
    sending: Sending, items: list[Outgoing], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = redis.exceptions.OutOfMemoryError("used memory > 'maxmemory'")
    for shard in (0, 1):
        with sending.to(shard):
            sending.answered(shard, [refusal, refusal])
    error, found = outcome(sending, items)
    assert error.reachable
    assert not error.uncertain
    assert set(found.values()) == {Fate.UNSENT}
    again = Sending(sending._plan, Counters(), sending._hosts)
    again.answered(0, [refusal, refusal])
    assert caplog.text.count("Redis at redis://a stores nothing more: used memory") == 1
    again.answered(0, [None, 0])
    assert "stores messages again" not in caplog.text, "it may have been for once"
    monkeypatch.setattr(outage, "SURE_SECONDS", 0.0)
    for _ in range(2):
        again.answered(0, [None, 0])
    assert caplog.text.count("Redis at redis://a stores messages again") == 1


def test_a_wrong_configuration_is_said_as_such(sending: Sending) -> None:
    sending.answered(0, [redis.exceptions.NoPermissionError("no EVALSHA"), 0])
    sending.answered(1, [None, 0])
    with pytest.raises(LayerConfigurationError, match="no EVALSHA"):
        sending.finish()


def test_only_what_was_surely_stored_has_followers(sending: Sending, items: list[Outgoing]) -> None:
    refusal = redis.exceptions.OutOfMemoryError("used memory > 'maxmemory'")
    sending.answered(0, [None, 0])
    sending.answered(1, [refusal, 0])
    followers = [Outgoing(item.target, b"") for item in items]
    stored = sending.stored(list(zip(items, followers, strict=True)))
    assert [item.target for item in stored] == [
        item.target for item in items if item.group or item not in sending._plan.messages(1)
    ]


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
