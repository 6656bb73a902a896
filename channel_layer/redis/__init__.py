"""The Redis layer."""

from .layer import RedisChannelLayer

__all__ = ["RedisChannelLayer"]
