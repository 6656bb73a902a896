"""Large messages, which take another way to Redis: the same promises hold."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from channel_layer.redis import RedisChannelLayer
from channel_layer.redis.scripts import LARGE_BYTES, plain

from .conftest import MakeRedisLayer

LARGE = b"x" * LARGE_BYTES


@pytest.fixture
def layer(redis_url: str, make_redis_layer: MakeRedisLayer) -> RedisChannelLayer:
    return make_redis_layer(redis_url, channel_capacity={"small": 3})


def message(number: int, *, large: bool = True) -> dict[str, Any]:
    return {"n": number, "bytes": LARGE if large else b""}


def items(layer: RedisChannelLayer, channel: str, *numbers: int, large: bool = True) -> list[Any]:
    return [layer.prepare(channel, message(number, large=large)) for number in numbers]


def numbers(layer: RedisChannelLayer, channel: str) -> list[int]:
    found: list[int] = []
    while deliveries := layer.receive_batch([channel], limit=3):
        assert all(delivery.message["bytes"] in (b"", LARGE) for delivery in deliveries)
        found += [delivery.message["n"] for delivery in deliveries]
    return found


def scripts_run(layer: RedisChannelLayer) -> int:
    text = layer._sync.run(0, [plain("INFO", "commandstats")])[0].decode()
    lines = [line for line in text.splitlines() if line.startswith("cmdstat_eval:")]
    return int(lines[0].partition("calls=")[2].partition(",")[0]) if lines else 0


def test_they_keep_their_order_among_small_ones(layer: RedisChannelLayer) -> None:
    before = scripts_run(layer)
    batch = [
        *items(layer, "a", 0, large=False),
        *items(layer, "b", 10),
        *items(layer, "a", 1, 2),
        *items(layer, "a", 3, large=False),
        *items(layer, "c", 20, large=False),
    ]
    assert layer.send_batch(batch) == []
    assert scripts_run(layer) == before + 2, "they went the usual way"
    layer.send_batch(items(layer, "a", 4, large=False))
    assert [numbers(layer, channel) for channel in "abc"] == [[0, 1, 2, 3, 4], [10], [20]]


def test_what_has_no_room_is_refused_and_the_rest_is_stored(layer: RedisChannelLayer) -> None:
    layer.send_batch(items(layer, "small", 0))
    batch = [*items(layer, "small", 1, 2, 3, 4), *items(layer, "other", 5)]
    assert layer.send_batch(batch) == batch[2:4]
    assert numbers(layer, "small") == [0, 1, 2]
    assert numbers(layer, "other") == [5]
    statistics = layer.channel_statistics("small")
    assert (statistics["messages_count"], statistics["channel_full_count"]) == (3, 2)
    assert layer.global_statistics()["messages_count"] == 4


def test_what_has_expired_makes_room_for_them(redis_url: str, make_redis_layer: MakeRedisLayer) -> None:
    layer = make_redis_layer(redis_url, capacity=2)
    queue = layer._storage.keys[0].queues + "a"
    layer._sync.run(0, [plain("RPUSH", queue, b"\x00" * 8 + b"old", b"\x00" * 8 + b"older")])
    assert layer.send_batch(items(layer, "a", 1, 2)) == []
    assert numbers(layer, "a") == [1, 2]


@pytest.mark.parametrize("wrong", [-7_200_000.0, 7_200_000.0])
def test_a_sender_whose_idea_of_the_time_is_wrong_does_no_harm(
    redis_url: str, make_redis_layer: MakeRedisLayer, wrong: float
) -> None:
    layer = make_redis_layer(redis_url, expiry=60)
    layer._plan.clocks[0].learn(layer._plan.clocks[0].ms() + wrong)
    layer.send_batch([*items(layer, "a", 1), *items(layer, "a", 2, large=False), *items(layer, "a", 3)])
    age = layer.channel_statistics("a")["messages_max_age"]
    assert 0 <= age < 30
    assert numbers(layer, "a") == [1, 2, 3]
    assert layer.counters.expired == 0


def test_receiving_corrects_that_idea(redis_url: str, make_redis_layer: MakeRedisLayer) -> None:
    layer = make_redis_layer(redis_url)
    clock = layer._plan.clocks[0]
    clock.learn(0.0)
    layer.receive_batch(["a"])
    seconds, _ = layer._sync.run(0, [plain("TIME")])[0]
    assert abs(clock.ms() - int(seconds) * 1000) < 30_000


def test_a_server_that_forgot_its_scripts_gets_them_whole(layer: RedisChannelLayer) -> None:
    layer._sync.run(0, [plain("SCRIPT", "FLUSH")])
    assert layer.send_batch(items(layer, "a", 1)) == []
    assert numbers(layer, "a") == [1]


async def _send_and_receive(layer: RedisChannelLayer) -> list[int]:
    assert await layer.asend_batch(items(layer, "a", 1, 2)) == []
    found = await layer.areceive_batch(["a"], limit=5, timeout=30)
    await layer.aclose()
    return [delivery.message["n"] for delivery in found]


def test_they_pass_from_an_event_loop_too(layer: RedisChannelLayer) -> None:
    assert asyncio.run(_send_and_receive(layer)) == [1, 2]


def test_an_exchange_sends_them(redis_url: str, make_redis_layer: MakeRedisLayer) -> None:
    layer = make_redis_layer(redis_url, channel_capacity={"small": 3})
    layer.receive_batch(["in"])
    layer.send_batch(items(layer, "in", 0, large=False))
    told: list[Any] = []
    batch = items(layer, "small", 1, 2, 3, 4)
    exchange = layer.begin_exchange(batch, ["in"], timeout=30)
    found = exchange.finish(lambda refused, error: told.append((refused, error)))
    assert [delivery.message["n"] for delivery in found] == [0]
    assert told == [(batch[3:], None)]
    assert numbers(layer, "small") == [1, 2, 3]


def test_encrypted_ones_are_read_again(redis_url: str, make_redis_layer: MakeRedisLayer) -> None:
    layer = make_redis_layer(redis_url, symmetric_encryption_keys=["secret of some length"])
    layer.send_batch(items(layer, "a", 1, 2))
    assert numbers(layer, "a") == [1, 2]
