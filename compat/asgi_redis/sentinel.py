"""The layer over Redis Sentinel, which can be named and not be made."""

from __future__ import annotations

from typing import Any

from channel_layer.exceptions import LayerConfigurationError

from .core import RedisChannelLayer

__all__ = ["RedisSentinelChannelLayer"]


class RedisSentinelChannelLayer(RedisChannelLayer):
    """Raises `LayerConfigurationError` when it is made."""

    def __init__(self, *args: Any, **options: Any) -> None:
        raise LayerConfigurationError(
            "Redis Sentinel is not supported yet; use channel_layer.redis.RedisChannelLayer with its hosts"
        )
