"""Common parts of the commands that run consumers."""

from __future__ import annotations

import logging

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser

from channel_layer.channel import Message
from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable, clause
from channel_layer.registry import DEFAULT_CHANNEL_LAYER
from channels.backends import InvalidChannelLayerError
from channels.configured_layers import ChannelLayerWrapper, channel_layers, require_work
from channels.log import message_line
from routing import Router, RoutingError
from routing.routes import Consumer

logger = logging.getLogger("channels.management")
message_logger = logging.getLogger("channels.messages")


def add_layer_option(parser: CommandParser) -> None:
    """Declare ``--layer``, the alias that `open_layer` takes."""
    parser.add_argument(
        "--layer",
        default=DEFAULT_CHANNEL_LAYER,
        metavar="ALIAS",
        help="which entry of CHANNEL_LAYERS to work for (default: %(default)s)",
    )


def open_layer(alias: str) -> ChannelLayerWrapper:
    """The wrapped layer of an alias; raises `CommandError` with one sentence if it cannot be used."""
    try:
        layer: ChannelLayerWrapper = channel_layers[alias]
        return layer
    except InvalidChannelLayerError as error:
        raise CommandError(str(error)) from error


def websocket_protocols() -> tuple[str, ...]:
    """The setting CHANNELS_WS_PROTOCOLS: WebSocket subprotocols that this process's interface server speaks.

    Raises:
        ImproperlyConfigured: it is not a list of names.
    """
    names = getattr(settings, "CHANNELS_WS_PROTOCOLS", None) or ()
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) and name for name in names):
        raise ImproperlyConfigured(f"CHANNELS_WS_PROTOCOLS is a list of names of subprotocols, not {names!r}")
    return tuple(names)


def route_with(layer: ChannelLayerWrapper, http_consumer: Consumer | None) -> Router:
    """The layer's router; raises `CommandError` if there is nothing to run, or names the route that cannot work."""
    try:
        require_work(layer.alias, layer.routing)
        return layer.serve_http_with(http_consumer)
    except (InvalidChannelLayerError, ImproperlyConfigured) as error:
        raise CommandError(str(error)) from error
    except RoutingError as error:
        raise CommandError(f"the ROUTING of channel layer {layer.alias!r} does not work. {error}") from error


def reach(layer: ChannelLayerWrapper) -> None:
    """Reach for the layer's broker once; raises `CommandError` if it is unfit.

    One that is away is waited for: after a restart of the machine it may come up later than its users.
    """
    try:
        layer.check()
    except LayerConfigurationError as error:
        raise CommandError(f"channel layer {layer.alias!r}: {error}") from error
    except LayerUnavailable as error:
        logger.warning("%s; starting anyway and trying again until it answers", clause(error))


def log_message(message: Message, seconds: float, outcome: str) -> None:
    """Log one message that was dealt with, as ``-v 2`` shows it."""
    message_logger.debug("%s", message_line(message.channel.name, message.get("path", ""), seconds, outcome))
