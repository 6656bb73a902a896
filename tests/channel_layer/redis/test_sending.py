from __future__ import annotations

import pytest

from channel_layer import codec
from channel_layer.capacity import CapacityRules
from channel_layer.delivery import Outgoing
from channel_layer.exceptions import LayerUnavailable
from channel_layer.layer import Counters
from channel_layer.redis.plan import Planner
from channel_layer.redis.sending import Sending


@pytest.fixture
def items() -> list[Outgoing]:
    return [Outgoing(f"channel-{number}", codec.pack_body({})) for number in range(20)]


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def sending(items: list[Outgoing], counters: Counters) -> Sending:
    plan = Planner(["redis://a", "redis://b"], "p:", 60, 60, CapacityRules(7)).send(items)
    assert sorted(plan.calls) == [0, 1]
    assert plan.size(0) + plan.size(1) == len(items)
    return Sending(plan, counters)


def test_what_any_server_refused_is_gathered(sending: Sending, items: list[Outgoing]) -> None:
    for shard in (0, 1):
        with sending.to(shard):
            sending.answered(shard, [[1] * sending._plan.size(shard)])
    assert sorted(item.target for item in sending.finish()) == sorted(item.target for item in items)


def test_a_batch_that_no_server_got_may_be_sent_again(sending: Sending, counters: Counters) -> None:
    for shard in (0, 1):
        with sending.to(shard):
            raise LayerUnavailable("redis://x", "refused", uncertain=False)
    with pytest.raises(LayerUnavailable) as caught:
        sending.finish()
    assert not caught.value.uncertain
    assert counters.possible_losses == 0


def test_a_batch_that_one_server_got_may_not(sending: Sending) -> None:
    with sending.to(0):
        sending.answered(0, [None])
    with sending.to(1):
        raise LayerUnavailable("redis://x", "refused", uncertain=False)
    with pytest.raises(LayerUnavailable) as caught:
        sending.finish()
    assert caught.value.uncertain


def test_only_messages_of_doubtful_fate_are_counted(sending: Sending, counters: Counters) -> None:
    with sending.to(0):
        sending.answered(0, [None])
    with sending.to(1):
        raise LayerUnavailable("redis://x", "cut off")
    with pytest.raises(LayerUnavailable):
        sending.finish()
    assert counters.possible_losses == sending._plan.size(1)
