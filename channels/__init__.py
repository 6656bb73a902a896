"""Channels for Django: what an application imports.

Importing this package needs no settings; they are read when a layer is first used.
"""

from .rooms import check_rooms

check_rooms()

from channel_layer.channel import Channel, Group  # noqa: E402
from channel_layer.registry import DEFAULT_CHANNEL_LAYER  # noqa: E402
from routing import include, route, route_class  # noqa: E402

from .configured_layers import channel_layers  # noqa: E402
from .version import __version__  # noqa: E402

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
