from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from channel_layer.delivery import Delivery, LastWill
from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable
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


def test_a_server_that_refuses_us_is_named_once_and_ends_no_receive(
    layer: RedisChannelLayer, reader: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = layer._async.run
    refused: list[int] = []

    async def refuse(shard: int, calls: Any, **options: Any) -> Any:
        if shard == 1:
            refused.append(shard)
            raise LayerConfigurationError("no permission.")
        return await run(shard, calls, **options)

    monkeypatch.setattr(layer._async, "run", refuse)
    in_loop(layer, receive(layer, reader, lambda: len(refused) > 2))
    assert caplog.text.count("no permission. Going on with the other servers") == 1


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


class Groups:
    """A process that reads on the first of several servers, in one group on each of them."""

    def __init__(self, layer: RedisChannelLayer, servers: int) -> None:
        several = Several(layer)
        self.reader = several.name(0, "!")
        self.names = [several.name(shard, ".group") for shard in range(servers)]
        for group in self.names:
            layer.group_add(group, self.reader + "a")

    def send(self, layer: RedisChannelLayer) -> None:
        """To each group, on its server."""
        for group in self.names:
            layer.send_group(group, {"n": self.names.index(group)})


@pytest.fixture
def layers(three_redis: list[OwnRedis], make_redis_layer: MakeRedisLayer) -> list[RedisChannelLayer]:
    """Those of a process and of somebody else, over three servers."""
    return [make_redis_layer(*(server.url for server in three_redis), presence=2) for _ in range(2)]


def found(deliveries: list[Delivery]) -> list[int]:
    return [delivery.message["n"] for delivery in deliveries]


async def areceived(layer: RedisChannelLayer, reader: str, count: int) -> list[int]:
    """Receive so many messages."""
    numbers: list[int] = []
    async with asyncio.timeout(20):
        while len(numbers) < count:
            numbers += found(await layer.areceive_batch([reader], limit=10, timeout=5))
    return sorted(numbers)


def received(layer: RedisChannelLayer, reader: str, count: int) -> list[int]:
    numbers: list[int] = []
    wait_until(
        lambda: numbers.extend(found(layer.receive_batch([reader], limit=10, timeout=1))) or len(numbers) >= count,
        f"{count} messages",
    )
    return sorted(numbers)


def test_messages_to_groups_come_from_the_servers_of_the_groups(layers: list[RedisChannelLayer]) -> None:
    layer, other = layers
    groups = Groups(layer, 3)
    groups.send(other)
    assert in_loop(layer, areceived(layer, groups.reader, 3)) == [0, 1, 2]
    groups.send(other)
    assert received(layer, groups.reader, 3) == [0, 1, 2]


def test_a_receive_that_was_cancelled_leaves_to_the_next_what_came(layers: list[RedisChannelLayer]) -> None:
    layer, other = layers
    groups = Groups(layer, 3)

    async def test() -> list[int]:
        await layer.areceive_batch([groups.reader])
        task = asyncio.ensure_future(layer.areceive_batch([groups.reader], timeout=5))
        await asyncio.sleep(0)
        idle = layer._async._idle_of(asyncio.get_running_loop())
        while len(idle.blocked) < 3:  # noqa: ASYNC110 - until it waits on every server
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        groups.send(other)
        return await areceived(layer, groups.reader, 3)

    assert in_loop(layer, test()) == [0, 1, 2]


@pytest.mark.parametrize("closes", [True, False], ids=["with aclose", "without"])
def test_what_came_behind_the_last_receive_of_a_loop_is_put_back(layers: list[RedisChannelLayer], closes: bool) -> None:
    layer, other = layers
    groups = Groups(layer, 3)

    async def take_one() -> list[int]:
        taken = await layer.areceive_batch([groups.reader])
        while not taken:
            taken = await layer.areceive_batch([groups.reader], timeout=1)
        await asyncio.sleep(0.3)
        if closes:
            await layer.aclose()
        return found(taken)

    in_loop(layer, layer.areceive_batch([groups.reader]))
    groups.send(other)
    first = asyncio.run(take_one())
    assert len(first) == 1
    assert sorted(first + received(layer, groups.reader, 2)) == [0, 1, 2]


def test_a_process_that_stops_receiving_leaves_the_rest_to_another_of_its_name(
    layers: list[RedisChannelLayer],
) -> None:
    old, new = layers
    groups = Groups(old, 3)

    async def stop() -> None:
        assert await old.areceive_batch([groups.reader], timeout=0.5) == []
        await old.astop_receiving([groups.reader])
        groups.send(new)
        new.send(groups.reader + "a", {"n": 3})
        deliveries = await old.areceive_batch([groups.reader], timeout=1)
        await asyncio.sleep(0.3)
        await old.astop_receiving([groups.reader])
        for delivery in deliveries:
            new.send(groups.reader + "a", delivery.message)

    in_loop(old, stop())
    numbers: list[int] = []

    def is_complete() -> bool:
        for delivery in new.receive_batch([groups.reader], limit=10, timeout=1):
            assert delivery.channel == groups.reader + "a", "what was for members is for each of them now"
            numbers.append(delivery.message["n"])
        return len(numbers) == 4

    wait_until(is_complete, "all four")
    assert sorted(numbers) == [0, 1, 2, 3]


@pytest.mark.parametrize("way", ["threads", "coroutines"])
def test_a_process_is_cut_off_without_its_own_server_and_goes_on_without_another(
    layers: list[RedisChannelLayer], three_redis: list[OwnRedis], way: str
) -> None:
    layer, other = layers
    groups = Groups(layer, 3)

    def receive(seconds: float) -> list[int]:
        if way == "threads":
            return found(layer.receive_batch([groups.reader], limit=10, timeout=seconds))
        return found(in_loop(layer, layer.areceive_batch([groups.reader], limit=10, timeout=seconds)))

    receive(0)
    three_redis[2].kill()
    numbers: list[int] = []
    for group in groups.names[:2]:
        other.send_group(group, {"n": groups.names.index(group)})
    with pytest.raises(LayerUnavailable):
        other.send_group(groups.names[2], {})
    wait_until(lambda: numbers.extend(receive(0.2)) or len(numbers) == 2, "the messages of the others")
    assert sorted(numbers) == [0, 1]
    three_redis[2].start()
    # Empty it came back, and the process puts its membership there.
    wait_until(lambda: receive(0.2) == [] and groups_of(other, groups.names[2]), "the membership")
    other.send_group(groups.names[2], {"n": 2})
    wait_until(lambda: receive(0.5) == [2], "a message from the server that is back")
    three_redis[0].kill()

    def is_cut_off() -> bool:
        try:
            receive(0.1)
        except LayerUnavailable:
            return True
        return False

    wait_until(is_cut_off, "the process to be cut off")


@pytest.mark.parametrize("ends", [False, True], ids=["goes-on", "ends"])
@pytest.mark.parametrize("way", ["threads", "coroutines"])
def test_a_message_that_another_server_may_have_lost_is_counted_and_told_of_once(
    layers: list[RedisChannelLayer],
    three_redis: list[OwnRedis],
    caplog: pytest.LogCaptureFixture,
    way: str,
    ends: bool,
) -> None:
    layer, other = layers
    reader = Several(layer).name(0, "!")
    cut = three_redis[1]

    async def receive(seconds: float) -> list[int]:
        if way == "threads":
            return found(await asyncio.to_thread(layer.receive_batch, [reader], 10, seconds))
        return found(await layer.areceive_batch([reader], limit=10, timeout=seconds))

    async def test() -> None:
        receiving = asyncio.create_task(receive(20))
        waiting = await asyncio.to_thread(wait_until, cut.blocked, "a pop that waits there")
        await asyncio.to_thread(other.send, reader + "a", {"n": 1})
        assert await receiving == [1]
        for connection in waiting:  # the pop goes on there
            cut.ask("CLIENT", "KILL", "ID", connection)
        if ends and way == "threads":
            await asyncio.to_thread(layer.close)
        elif ends:
            await layer.astop_receiving([reader])
        async with asyncio.timeout(20):
            while not layer.counters.possible_losses:
                assert await receive(0) == []

    in_loop(layer, test())
    assert layer.counters.possible_losses == 1
    assert caplog.text.count("a message may be lost") == 1
    assert caplog.text.count("may be lost") == 1


def test_failures_of_other_servers_cut_off_nobody_whose_own_has_failed_before(
    layers: list[RedisChannelLayer], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, _ = layers
    reader = Several(layer).name(0, "!")
    run, failed = layer._async.run, set[int]()

    async def fail_once(shard: int, calls: Any, **options: Any) -> Any:
        if shard not in failed:
            failed.add(shard)
            await asyncio.sleep(0.2 if shard else 0)
            raise LayerUnavailable("here", "cut off")
        return await run(shard, calls, **options)

    monkeypatch.setattr(layer._async, "run", fail_once)

    async def receive() -> None:
        with pytest.raises(LayerUnavailable):
            await layer.areceive_batch([reader], timeout=1)
        assert await layer.areceive_batch([reader], timeout=1) == []
        assert failed == {0, 1, 2}

    in_loop(layer, receive())


def groups_of(layer: RedisChannelLayer, group: str) -> list[str]:
    try:
        return layer.group_channels(group)
    except LayerUnavailable:
        return []
