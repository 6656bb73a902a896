"""The production layer over a Redis Cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..exceptions import LayerConfigurationError
from ..layer import ChannelLayer
from .cluster import tags_for
from .keys import Keys
from .layer import RedisChannelLayer
from .servers import cluster_hosts

MOST_TAGS = 256


class RedisClusterChannelLayer(RedisChannelLayer):
    """`RedisChannelLayer` over the nodes of a Redis Cluster.

    Channels and groups are spread over hash tags, whose slots lie at equal distances, and each tag is to the layer
    what one of several servers is to `RedisChannelLayer`: the scripts have all their keys there. A tag goes with its
    slot, from node to node.

    Args:
        hosts: nodes of the cluster, any of them; the others are found. Each is a URL, a ``(host, port)`` pair or a dict
            of redis-py arguments. User, password and TLS are those of the first for all nodes. By default the one on
            this machine.
        tags: number of hash tags, the same in all processes. No more than so many nodes have something to do, and each
            process waits on so many connections.
        prefix, connection_kwargs, symmetric_encryption_keys: see `RedisChannelLayer`.
        options: those of `ChannelLayer`.
    """

    def __init__(
        self,
        *,
        hosts: Any = None,
        tags: int = 16,
        prefix: str = "asgi:",
        connection_kwargs: Mapping[str, Any] | None = None,
        symmetric_encryption_keys: Any = None,
        **options: Any,
    ) -> None:
        if not isinstance(tags, int) or isinstance(tags, bool) or not 1 <= tags <= MOST_TAGS:
            raise LayerConfigurationError(f"'tags' is a number from 1 to {MOST_TAGS}, not {tags!r}")
        if "{" in prefix or "}" in prefix:
            raise LayerConfigurationError(
                "'prefix' must have no braces in a cluster: the layer puts hash tags of its own behind it"
            )
        ChannelLayer.__init__(self, **options)
        names = tags_for(tags)
        prefixes = [f"{prefix}{{{name}}}" for name in names]
        found = cluster_hosts(hosts, connection_kwargs, names, [Keys(each).fence for each in prefixes])
        self._set_up(found, names, prefix, prefixes, symmetric_encryption_keys)

    def describe(self) -> str:
        """See `ChannelLayer.describe`."""
        return self._hosts[0].name.rpartition("/")[0]
