"""Channels for Django: what an application imports.

Importing this package needs no settings; they are read when a layer is first used.
"""

from channel_layer.channel import Channel, Group
from channel_layer.registry import DEFAULT_CHANNEL_LAYER
from routing import include, route, route_class

from .layers import channel_layers
from .version import __version__

__all__ = [
    "DEFAULT_CHANNEL_LAYER",
    "Channel",
    "Group",
    "__version__",
    "channel_layers",
    "include",
    "route",
    "route_class",
]
