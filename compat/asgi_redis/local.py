"""The layer over Redis that kept messages to the same machine in shared memory; Redis carries all of them here."""

from __future__ import annotations

from .core import RedisChannelLayer

__all__ = ["RedisLocalChannelLayer"]


class RedisLocalChannelLayer(RedisChannelLayer):
    """The plain layer under its other name."""
