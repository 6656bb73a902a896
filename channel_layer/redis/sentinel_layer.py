"""The production layer where Sentinels choose the servers."""

from __future__ import annotations

from typing import Any

from ..exceptions import LayerConfigurationError
from .layer import RedisChannelLayer


class RedisSentinelChannelLayer(RedisChannelLayer):
    """`RedisChannelLayer` that cannot do without ``services``; ``hosts`` are Sentinels.

    Args:
        hosts: Sentinels, each a URL, a ``(host, port)`` pair or a dict of redis-py arguments. By default the one on
            this machine.
        services: names of the services that they watch. Channels are spread over several.
        options: those of `RedisChannelLayer`.
    """

    def __init__(self, *, hosts: Any = None, services: Any = None, **options: Any) -> None:
        if services is None:
            raise LayerConfigurationError(
                "'services' is missing: a list of names, each as behind 'sentinel monitor' in the Sentinels' files"
            )
        super().__init__(hosts=hosts, services=services, **options)
