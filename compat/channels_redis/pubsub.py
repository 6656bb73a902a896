"""The other layer of channels_redis, here the same."""

from __future__ import annotations

from channels.redis_layers import RedisPubSubChannelLayer

__all__ = ["RedisPubSubChannelLayer"]
