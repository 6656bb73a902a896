"""Channel layer over Redis or Valkey, for any number of machines."""

from .layer import RedisChannelLayer
from .sentinel_layer import RedisSentinelChannelLayer

__all__ = ["RedisChannelLayer", "RedisSentinelChannelLayer"]
