"""The layer over servers that Redis Sentinel chooses."""

from __future__ import annotations

from typing import Any

import channel_layer.redis

__all__ = ["RedisSentinelChannelLayer"]


class RedisSentinelChannelLayer(channel_layer.redis.RedisSentinelChannelLayer):
    """`channel_layer.redis.RedisSentinelChannelLayer`, with the arguments of asgi_redis.

    Args:
        stats_prefix: ignored; statistics lie under ``prefix``.
        sentinel_refresh_interval: ignored; Sentinels are asked every second.
        options: those of the layer.
    """

    def __init__(
        self,
        expiry: float = 60,
        hosts: Any = None,
        prefix: str = "asgi:",
        *,
        stats_prefix: Any = None,
        sentinel_refresh_interval: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(expiry=expiry, hosts=hosts, prefix=prefix, **options)
