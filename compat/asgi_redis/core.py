"""The layer over Redis."""

from __future__ import annotations

from typing import Any

import channel_layer.redis

__all__ = ["RedisChannelLayer"]


class RedisChannelLayer(channel_layer.redis.RedisChannelLayer):
    """`channel_layer.redis.RedisChannelLayer`, with the arguments of asgi_redis.

    Args:
        stats_prefix: ignored; statistics lie under ``prefix``.
        options: those of the layer.
    """

    def __init__(
        self, expiry: float = 60, hosts: Any = None, prefix: str = "asgi:", *, stats_prefix: Any = None, **options: Any
    ) -> None:
        super().__init__(expiry=expiry, hosts=hosts, prefix=prefix, **options)
