from __future__ import annotations

import math
import time

import pytest
import redis

from channel_layer.exceptions import LayerUnavailable
from channel_layer.redis import RedisChannelLayer
from channel_layer.redis.pops import _MOST_LISTS, More

from .conftest import MakeRedisLayer

ODD = redis.ResponseError("something odd")
NOW = [b"1000", b"0"]


@pytest.fixture
def layer(redis_url: str, make_redis_layer: MakeRedisLayer) -> RedisChannelLayer:
    return make_redis_layer(redis_url)


@pytest.mark.parametrize(("presence", "socket_timeout", "longest"), [(30, 4, 2), (1.5, 4, 0.5), (30, 1, 0.5)])
def test_a_pop_waits_no_longer_than_signs_of_life_and_answers_may(
    redis_url: str, make_redis_layer: MakeRedisLayer, presence: float, socket_timeout: float, longest: float
) -> None:
    layer = make_redis_layer(redis_url, presence=presence, connection_kwargs={"socket_timeout": socket_timeout})
    begun = time.monotonic()
    [_, _, pop, _] = layer._pops.calls(0, ["process!"], 1, layer._pops.block_until(begun + 100))
    assert pop.args[:2] == ("BLMPOP", longest)


def test_behind_what_is_answered_at_once_a_pop_does_not_wait_while_others_do(layer: RedisChannelLayer) -> None:
    [_, _, pop, _] = layer._pops.calls(0, ["process!"], 1, 2.0, alone=False)
    assert pop.args[0] == "LMPOP"
    [pop, _] = layer._pops.calls(0, ["process!"], 1, 2.0, alone=False)
    assert pop.args[:2] == ("BLMPOP", 2.0)


def test_an_error_in_front_of_a_pop_is_logged_and_its_command_comes_again(
    layer: RedisChannelLayer, caplog: pytest.LogCaptureFixture
) -> None:
    layer._pops.calls(0, ["process!"], 1, 2.0)
    assert layer._pops.read(0, ["process!"], [ODD, [0], None, NOW]) == ([], More.LATER, [])
    assert "have to wait: something odd" in caplog.text
    [renewal, _, _] = layer._pops.calls(0, ["process!"], 1, 2.0)
    assert renewal.args[0] == "PEXPIRE"


def test_a_pop_that_was_refused_has_taken_nothing(layer: RedisChannelLayer) -> None:
    with pytest.raises(LayerUnavailable) as caught:
        layer._pops.read(0, ["in"], [ODD, NOW])
    assert not caught.value.uncertain


def test_while_there_are_wills_to_carry_out_no_pop_waits(layer: RedisChannelLayer) -> None:
    layer._pops.calls(0, ["in"], 1, 2.0)
    assert layer._pops.read(0, ["in"], [[1], None, NOW]) == ([], More.NOW, [])
    [_, pop, _] = layer._pops.calls(0, ["in"], 1, 2.0)
    assert pop.args[0] == "LMPOP"
    assert layer._pops.read(0, ["in"], [[0], None, NOW]) == ([], More.LATER, [])
    [pop, _] = layer._pops.calls(0, ["in"], 1, 2.0)
    assert pop.args[0] == "BLMPOP"


@pytest.mark.parametrize("count", [1, 2, 5, 6, 100])
def test_every_channel_is_asked_for_and_each_is_the_first_at_times(layer: RedisChannelLayer, count: int) -> None:
    channels = [f"channel-{number}" for number in range(count)]
    firsts = set()
    for _ in range(20 * count + 200):
        pop, _ = layer._pops.calls(0, channels, 1, 2.0)[-2:]
        # BLMPOP, seconds, number of keys, keys, LEFT COUNT 1
        asked = [str(key).rpartition(":")[2] for key in pop.args[3 : 3 + count]]
        assert sorted(asked) == sorted(channels)
        firsts.add(asked[0])
    assert firsts == set(channels)


def test_more_lists_of_channels_than_are_kept_are_received_from(layer: RedisChannelLayer) -> None:
    for number in [*range(_MOST_LISTS + 1), 0]:
        layer.send(f"channel-{number}", {"n": number})
        assert layer.receive_batch([f"channel-{number}"], timeout=5)[0].message == {"n": number}


def test_a_pop_blocks_for_whole_milliseconds_and_not_too_short(layer: RedisChannelLayer) -> None:
    for seconds in (0.0004, 0.0014, 0.25):
        block = layer._pops.block_until(time.monotonic() + seconds)
        # Rounded up: otherwise a receive would look again and again without a wait at the end of its time.
        assert 0 < block <= seconds + 0.001
        assert block == round(block, 3)
    assert layer._pops.block_until(time.monotonic() - 1) == 0
    assert layer._pops.block_until(math.inf) == layer._pops.block_until(time.monotonic() + 100)
