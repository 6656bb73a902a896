"""The layers of asgi_redis, under the names that applications for Channels 1 import and subclass."""

from .core import RedisChannelLayer
from .local import RedisLocalChannelLayer
from .sentinel import RedisSentinelChannelLayer

__all__ = ["RedisChannelLayer", "RedisLocalChannelLayer", "RedisSentinelChannelLayer"]
