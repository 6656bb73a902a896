"""A server that answers and stores nothing: no memory left, no disk, read only, too few replicas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from channel_layer.delivery import LastWill, Outgoing
from channel_layer.exceptions import LayerUnavailable
from channel_layer.outcome import Fate, fates
from channel_layer.redis import RedisChannelLayer, presence
from channel_layer.redis.scripts import LARGE_BYTES

from .conftest import MakeRedisLayer, OwnRedis, in_loop

Eventually = Callable[..., Any]


def end_memory(server: OwnRedis) -> None:
    server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    server.ask("CONFIG", "SET", "maxmemory", "1mb")


def free_memory(server: OwnRedis) -> None:
    server.ask("CONFIG", "SET", "maxmemory", "0")


def lose_disk(server: OwnRedis, eventually: Eventually) -> None:
    server.ask("CONFIG", "SET", "save", "3600 1")
    server.directory.rmdir()
    server.ask("BGSAVE")
    eventually(lambda: server.ask("INFO")["rdb_last_bgsave_status"] == "err", "the failure to save")


@pytest.fixture(params=["no memory", "no disk", "read only", "no replica"])
def refusing(request: pytest.FixtureRequest, own_redis: OwnRedis, eventually: Eventually) -> tuple[Any, Any]:
    """Functions that have the server store nothing, and store again."""
    return {
        "no memory": (lambda: end_memory(own_redis), lambda: free_memory(own_redis)),
        "no disk": (lambda: lose_disk(own_redis, eventually), lambda: own_redis.ask("CONFIG", "SET", "save", "")),
        "read only": (
            lambda: own_redis.ask("REPLICAOF", "127.0.0.1", "1"),
            lambda: own_redis.ask("REPLICAOF", "NO", "ONE"),
        ),
        "no replica": (
            lambda: own_redis.ask("CONFIG", "SET", "min-replicas-to-write", "1"),
            lambda: own_redis.ask("CONFIG", "SET", "min-replicas-to-write", "0"),
        ),
    }[request.param]


def willed(layer: RedisChannelLayer) -> Outgoing:
    item = layer.prepare("connect", {})
    item.last_will = LastWill("process!a", layer.prepare("gone", {}))
    return item


def test_what_is_sent_is_certainly_refused_and_goes_through_when_it_stores_again(
    own_redis: OwnRedis, make_redis_layer: MakeRedisLayer, refusing: tuple[Any, Any], eventually: Eventually
) -> None:
    layer = make_redis_layer(own_redis.url)
    layer.group_add("room", "member")
    batch = [
        layer.prepare("plain", {"n": 1}),
        willed(layer),
        layer.prepare("large", {"text": "x" * LARGE_BYTES}),
        layer.prepare("room", {"n": 2}, group=True),
    ]
    refuse, store = refusing
    refuse()
    calls: list[Callable[[], object]] = [
        lambda: layer.send_batch(batch),
        lambda: in_loop(layer, layer.asend_batch(batch)),
        lambda: layer.send("plain", {"n": 1}),
        lambda: layer.group_add("room", "other"),
    ]
    for call in calls:
        with pytest.raises(LayerUnavailable) as caught:
            call()
        assert not caught.value.uncertain
    told: list[LayerUnavailable | None] = []
    exchange = layer.begin_exchange(batch, ["in"])
    try:
        exchange.finish(lambda refused, error: told.append(error))
    except LayerUnavailable:
        pass  # without memory it can be received; without a disk or a replica nothing can
    [error] = told
    assert error is not None
    assert error.reachable
    assert fates(batch, (), error) == [Fate.UNSENT] * 4
    assert layer.counters.possible_losses == 0
    store()
    assert eventually(lambda: sent(layer, batch), "the batch to be stored")
    for name in ("plain", "connect", "large", "member"):
        assert len(layer.receive_batch([name], limit=10)) == 1, name


def sent(layer: RedisChannelLayer, batch: list[Outgoing]) -> bool:
    try:
        return layer.send_batch(batch) == []
    except LayerUnavailable as error:
        if error.uncertain:
            raise
        return False


@pytest.fixture
def full(
    own_redis: OwnRedis, make_redis_layer: MakeRedisLayer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RedisChannelLayer]:
    """A layer that renews its presence with each pop, on a server without memory, and 60 messages there."""
    monkeypatch.setattr(presence, "RENEWALS", 1_000_000)
    layer = make_redis_layer(own_redis.url)
    layer.receive_batch(["process!"])
    layer.send_batch([layer.prepare("process!a", {"n": n}) for n in range(60)])
    end_memory(own_redis)
    yield layer
    free_memory(own_redis)


def test_without_memory_everything_that_waits_is_received_and_the_process_stays_present(
    own_redis: OwnRedis, full: RedisChannelLayer
) -> None:
    own_redis.ask("PEXPIRE", full.prefix + "p:process!", 20_000)
    got = [full.receive_batch(["process!"], timeout=1)[0].message["n"] for _ in range(20)]

    async def more() -> list[int]:
        found = [await full.areceive_batch(["process!"], timeout=1) for _ in range(20)]
        return [delivery.message["n"] for [delivery] in found]

    got += in_loop(full, more())
    for _ in range(20):
        exchange = full.begin_exchange([full.prepare("out", {})], ["process!"], timeout=1)
        [delivery] = exchange.finish(lambda refused, error: None)
        got.append(delivery.message["n"])
    assert got == list(range(60))
    assert own_redis.ask("PTTL", full.prefix + "p:process!") > 20_000
    assert full.counters.possible_losses == 0


def test_without_memory_a_process_that_nobody_knows_of_receives_and_is_present_when_there_is_some(
    own_redis: OwnRedis, full: RedisChannelLayer, eventually: Eventually
) -> None:
    own_redis.ask("DEL", full.prefix + "p:process!")
    full.index.join("process!", "room", "a", 60)
    for n in range(60):
        [delivery] = full.receive_batch(["process!"], timeout=1)
        assert delivery.message == {"n": n}
    assert full.group_channels("room") == []
    free_memory(own_redis)
    eventually(lambda: full.receive_batch(["process!"]) or full.group_channels("room"), "the membership")


def test_without_memory_what_nobody_has_touched_can_be_put_back(own_redis: OwnRedis, full: RedisChannelLayer) -> None:
    taken = full.receive_batch(["process!"], limit=10, timeout=1)
    full.put_back("process!a", taken)
    again = full.receive_batch(["process!"], limit=60, timeout=1)
    assert [delivery.message["n"] for delivery in again] == list(range(60))
