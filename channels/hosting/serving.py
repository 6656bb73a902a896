"""For ``daphne project.asgi:application``: the layer over which an application is served, which workers then run.

``daphne`` finds these functions through the entry points ``interface_server.applications``, since the interface server
does not know Django.
"""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.registry import DEFAULT_CHANNEL_LAYER


def set_up() -> None:
    """Set Django up, for a module that imports models or consumers before it does so itself."""
    django.setup()


def layer_of(application: Any) -> Any:
    """The channel layer over which an application is served: the default one of the settings.

    Raises:
        LayerConfigurationError: there is none, or it cannot be used; one sentence.
    """
    from ..layers import channel_layers

    try:
        set_up()
        configured = getattr(settings, "CHANNEL_LAYERS", None)
    except (ImproperlyConfigured, ModuleNotFoundError) as error:
        raise LayerConfigurationError(f"Django cannot be set up: {error}") from error
    if not configured:
        raise LayerConfigurationError(
            "the settings have no CHANNEL_LAYERS, and the application runs in workers, which are reached over a layer; "
            "set the entry 'default' to the redis or sqlite layer"
        )
    return channel_layers[DEFAULT_CHANNEL_LAYER].channel_layer
