"""`channels.redis_layers`: options of channels_redis. What the layers do: `tests/channels/test_coroutine_layer.py`."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from django.test import override_settings

from channel_layer.exceptions import ChannelFull, LayerConfigurationError
from channel_layer.redis import RedisChannelLayer as RedisLayer
from channels.configured_layers import channel_layers as configured
from channels.layers import get_channel_layer
from channels.redis_layers import RedisChannelLayer, RedisPubSubChannelLayer


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 30))


@pytest.mark.parametrize(
    "host",
    [
        "redis://localhost:6379/0",
        ("localhost", 6379),
        ["localhost", 6379],
        {"address": "redis://localhost:6379/0"},
        {"host": "localhost", "port": 6379},
    ],
)
def test_hosts(host: Any) -> None:
    assert RedisChannelLayer(hosts=[host]).channel_layer.describe() == "redis://localhost:6379/0"


def test_the_options_reach_the_layer_below() -> None:
    layer = RedisChannelLayer(None, "mine", 30, 99, 7, {"a": 1}, ["kJ8-3hq_Zr0vWm5x"], 12, "json", presence=60)
    below = layer.channel_layer
    assert isinstance(below, RedisLayer)
    assert (below.prefix, below.expiry, below.group_expiry, below.presence) == ("mine:", 30, 99, 60)
    assert [below.capacity.of_reader(name) for name in ("a", "b", "daphne.x!")] == [1, 7, 10_000]
    assert (layer.prefix, layer.capacity, layer.get_capacity("a")) == ("mine", 7, 1)
    assert RedisChannelLayer().channel_layer.prefix == RedisChannelLayer(prefix="asgi:").channel_layer.prefix == "asgi:"
    assert RedisChannelLayer().client_prefix != RedisChannelLayer().client_prefix


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prefix": 7}, "prefix is text, not int"),
        ({"serializer_format": "cbor"}, "serializer_format 'cbor' cannot be used"),
        ({"hosts": [{"sentinels": [("localhost", 26379)]}]}, r"hosts\[0\] has no 'master_name'"),
        ({"hosts": "redis://localhost"}, "'hosts' must be a list"),
    ],
)
def test_what_cannot_work_is_one_sentence(options: Any, words: str) -> None:
    with pytest.raises(LayerConfigurationError, match=words):
        RedisChannelLayer(**options)


def test_a_service_of_redis_sentinel() -> None:
    hosts = [{"sentinels": [("localhost", 26379)], "master_name": "mymaster", "db": 2}]
    assert RedisChannelLayer(hosts=hosts).channel_layer.describe() == "redis+sentinel://mymaster/2"


@pytest.mark.parametrize(
    "path", ["channels_redis.core.RedisChannelLayer", "channels_redis.pubsub.RedisPubSubChannelLayer"]
)
def test_the_paths_of_channels_redis_are_backends(path: str) -> None:
    config = {"hosts": [("localhost", 6379)], "symmetric_encryption_keys": ["kJ8-3hq_Zr0vWm5x"]}
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": path, "CONFIG": config}}):
        layer = get_channel_layer()
        assert isinstance(layer, RedisChannelLayer)
        assert configured["default"].channel_layer is layer.channel_layer


@pytest.mark.parametrize("cls", [RedisChannelLayer, RedisPubSubChannelLayer])
def test_messages_over_redis(cls: Any, redis_url: str) -> None:
    async def scenario() -> None:
        layer = cls(hosts=[redis_url], prefix=str(uuid4()), capacity=2)
        name = await layer.new_channel()
        await layer.group_add("g", name)
        for n in range(3):
            await layer.group_send("g", {"n": n})
        assert [(await layer.receive(name))["n"] for _ in range(2)] == [0, 1]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(layer.receive(name), 0.05)
        for _ in range(2):
            await layer.send("a", {})
        with pytest.raises(ChannelFull):
            await layer.send("a", {})
        with pytest.raises(AssertionError, match="a channel of another process"):
            await layer.receive("other!x")
        await layer.flush()
        await layer.close_pools()
        await asyncio.to_thread(layer.channel_layer.close)

    run(scenario())


def test_the_other_layer_takes_its_options() -> None:
    layer = RedisPubSubChannelLayer(on_disconnect="gone", on_reconnect="back")
    assert layer.capacity == 10_000
