"""`asgi_redis`: the names that applications for Channels 1 import and subclass."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

import asgi_redis
import asgi_redis.core
import asgi_redis.local
import asgi_redis.sentinel
import channel_layer.redis
from channel_layer.exceptions import LayerConfigurationError
from channels.backends import make_layer


class OwnLayer(asgi_redis.RedisChannelLayer):
    """A subclass as applications have them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sent = 0


def test_every_module_has_its_name() -> None:
    assert asgi_redis.core.RedisChannelLayer is asgi_redis.RedisChannelLayer
    assert asgi_redis.local.RedisLocalChannelLayer is asgi_redis.RedisLocalChannelLayer
    assert asgi_redis.sentinel.RedisSentinelChannelLayer is asgi_redis.RedisSentinelChannelLayer


@pytest.mark.parametrize("cls", [asgi_redis.RedisChannelLayer, asgi_redis.RedisLocalChannelLayer, OwnLayer])
def test_they_take_the_arguments_of_asgi_redis(cls: Any) -> None:
    layer = cls(30, ["redis://localhost:6379/0"], "x:", stats_prefix="stats:", capacity=7, group_expiry=99)
    assert isinstance(layer, channel_layer.redis.RedisChannelLayer)
    assert (layer.expiry, layer.prefix, layer.group_expiry) == (30, "x:", 99)
    layer.close()


def test_a_subclass_is_a_backend() -> None:
    config = {"BACKEND": f"{__name__}.OwnLayer", "CONFIG": {"hosts": [("localhost", 6379)], "prefix": "y:"}}
    layer = make_layer("default", config, config["CONFIG"])  # type: ignore[arg-type]
    assert (type(layer).__name__, layer.prefix, layer.sent) == ("OwnLayer", "y:", 0)
    layer.close()


def test_a_subclass_carries_messages(redis_url: str) -> None:
    layer = OwnLayer(hosts=[redis_url], prefix=f"{uuid4()}:")
    layer.send("a", {"n": 1})
    assert layer.receive(["a"]) == ("a", {"n": 1})
    layer.close()


def test_sentinel_takes_the_arguments_of_asgi_redis() -> None:
    hosts = [("localhost", 26379)]
    layer = asgi_redis.RedisSentinelChannelLayer(
        30, hosts, "x:", services=["one"], stats_prefix="stats:", sentinel_refresh_interval=5
    )
    assert isinstance(layer, channel_layer.redis.RedisChannelLayer)
    assert (layer.expiry, layer.prefix, layer.describe()) == (30, "x:", "redis+sentinel://one/0")
    layer.close()
    with pytest.raises(LayerConfigurationError, match="'services' is missing"):
        asgi_redis.RedisSentinelChannelLayer(hosts=hosts)
