"""Channel layer over Redis or Valkey, for any number of machines."""

from .cluster_layer import RedisClusterChannelLayer
from .layer import RedisChannelLayer
from .sentinel_layer import RedisSentinelChannelLayer

__all__ = ["RedisChannelLayer", "RedisClusterChannelLayer", "RedisSentinelChannelLayer"]
