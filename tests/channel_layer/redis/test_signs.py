from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from channel_layer.delivery import LastWill
from channel_layer.exceptions import LayerConfigurationError
from channel_layer.redis import RedisChannelLayer
from tests.conftest import wait_until

from .conftest import MakeRedisLayer, OwnRedis, Several, in_loop

SPEED = 2.0
"""Seconds that anything takes at most while a server is frozen; to wait for its answer would take four."""


@pytest.fixture
def layer(redis_url: str, own_redis: OwnRedis, make_redis_layer: MakeRedisLayer) -> RedisChannelLayer:
    """A layer over two servers, with a heartbeat due on the second five times a second."""
    return make_redis_layer(redis_url, own_redis.url, presence=3)


@pytest.fixture
def reader(layer: RedisChannelLayer) -> str:
    """A process that reads on the first server and has a last will on the second."""
    several = Several(layer)
    reader = several.name(0, "!")
    item = layer.prepare(several.name(0), {})
    item.last_will = LastWill(reader + "a", layer.prepare(several.name(1), {}))
    assert layer.send_batch([item]) == []
    return reader


async def receive(layer: RedisChannelLayer, reader: str, until: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not until():
            await layer.areceive_batch([reader], timeout=0.05)


def test_a_frozen_server_that_is_to_be_told_holds_up_no_receive(
    layer: RedisChannelLayer, reader: str, own_redis: OwnRedis
) -> None:
    presence = f"{layer.prefix}p:{reader}"

    async def slowest_beside_a_frozen_server() -> float:
        slowest = 0.0
        loop = asyncio.get_running_loop()
        await receive(layer, reader, lambda: own_redis.ask("EXISTS", presence))
        own_redis.freeze()
        try:
            begun = loop.time()
            while loop.time() < begun + 2:
                before = loop.time()
                await layer.asend(reader + "a", {"n": 1})
                assert (await layer.areceive([reader]))[1] == {"n": 1}
                slowest = max(slowest, loop.time() - before)
        finally:
            own_redis.thaw()
        own_redis.ask("DEL", presence)
        await receive(layer, reader, lambda: own_redis.ask("EXISTS", presence))
        return slowest

    # A machine that others use, too, may stand still meanwhile; who waits for the server does so each time.
    wait_until(lambda: in_loop(layer, slowest_beside_a_frozen_server()) < SPEED, "a round at full speed")


def test_a_fault_in_giving_them_ends_no_receive(
    layer: RedisChannelLayer, reader: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = layer._async.run

    async def refuse(shard: int, calls: Any, **options: Any) -> Any:
        if shard == 1:
            raise LayerConfigurationError("no permission")
        return await run(shard, calls, **options)

    monkeypatch.setattr(layer._async, "run", refuse)
    in_loop(layer, receive(layer, reader, lambda: "cannot be told that this process is alive" in caplog.text))


def test_a_process_that_was_held_up_learns_what_was_carried_out_before_it_receives_anything(
    redis_url: str, own_redis: OwnRedis, make_redis_layer: MakeRedisLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, survivor = (make_redis_layer(redis_url, own_redis.url, presence=0.6) for _ in range(2))
    several = Several(layer)
    reader, gone = several.name(0, "!"), several.name(1)
    told: list[set[str]] = []
    layer.watch_last_wills(reader, lambda carried_out: told.append(set(carried_out)))
    item = layer.prepare(several.name(0), {})
    item.last_will = LastWill(reader + "a", layer.prepare(gone, {"n": 1}))
    run = layer._async.run

    async def run_slowly(shard: int, calls: Any, **options: Any) -> Any:
        await asyncio.sleep(shard * 0.2)
        return await run(shard, calls, **options)

    async def test() -> None:
        assert await layer.asend_batch([item]) == []
        await receive(layer, reader, lambda: own_redis.ask("EXISTS", f"{layer.prefix}p:{reader}"))
        while not survivor.receive_batch([gone], timeout=0.05):
            continue
        monkeypatch.setattr(layer._async, "run", run_slowly)
        told.clear()
        await layer.areceive_batch([reader])
        assert {"a"} in told

    in_loop(layer, test())
