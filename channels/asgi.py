"""Names for a project's ``asgi.py`` to import."""

from __future__ import annotations

from channel_layer.installation import check_installation
from channel_layer.registry import DEFAULT_CHANNEL_LAYER
from interface_server.application import Application
from interface_server.options import Options

# First of all: another distribution may have put its files over those that are imported next.
check_installation()

from .configured_layers import (  # noqa: E402
    ChannelLayerManager,
    ChannelLayerWrapper,
    InvalidChannelLayerError,
    channel_layers,
    get_channel_layer,
)

__all__ = [
    "ChannelLayerManager",
    "ChannelLayerWrapper",
    "InvalidChannelLayerError",
    "channel_layers",
    "get_asgi_application",
    "get_channel_layer",
]


def get_asgi_application(alias: str = DEFAULT_CHANNEL_LAYER, options: Options | None = None) -> Application:
    """Set Django up and return an ASGI 3 application that is an interface server, for any ASGI server to host.

    ``daphne`` wants the layer instead, see `get_channel_layer`: it hosts the application on protocols of its own.

    Args:
        alias: the channel layer to carry connections over.
        options: limits and times; the defaults if left out.

    Raises:
        InvalidChannelLayerError: as `get_channel_layer`.
    """
    return Application(get_channel_layer(alias), options)
