"""The layer that Channels 4 has for production."""

from __future__ import annotations

from channel_layer.exceptions import ChannelFull
from channels.redis_layers import RedisChannelLayer

__all__ = ["ChannelFull", "RedisChannelLayer"]
