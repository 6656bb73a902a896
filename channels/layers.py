"""Channel layers as Channels 2 to 4 have them: `get_channel_layer` and what it returns.

They are the layers of `channels.asgi`, with coroutines in place of plain calls: what is sent to a group through one
interface reaches the members that were added through the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from django.core.signals import setting_changed

from channel_layer.registry import DEFAULT_CHANNEL_LAYER
from channel_layer.registry import channel_layers as registry

from .backends import UnknownChannelLayerError, is_foreign, make_layer
from .base_layer import BaseChannelLayer
from .configured_layers import InvalidChannelLayerError
from .configured_layers import channel_layers as configured
from .coroutine_layer import CoroutineChannelLayer, InMemoryChannelLayer

__all__ = [
    "DEFAULT_CHANNEL_LAYER",
    "BaseChannelLayer",
    "ChannelLayerManager",
    "CoroutineChannelLayer",
    "InMemoryChannelLayer",
    "InvalidChannelLayerError",
    "channel_layers",
    "get_channel_layer",
]

AnyLayer: TypeAlias = Any
"""A layer with coroutines: a `CoroutineChannelLayer`, or one that another distribution has for Channels 2 to 4."""


class ChannelLayerManager:
    """Alias → layer with coroutines, made from the setting CHANNEL_LAYERS on first use.

    Attributes:
        backends: the layers that were asked for until now.
    """

    def __init__(self) -> None:
        self.backends: dict[str, AnyLayer] = {}
        self._placed: dict[str, AnyLayer] = {}
        setting_changed.connect(self._forget)

    @property
    def configs(self) -> Mapping[str, Any]:
        """The setting CHANNEL_LAYERS; empty if there is none."""
        return configured.configs

    def make_backend(self, name: str) -> AnyLayer:
        """Make the layer of an alias anew; raises `InvalidChannelLayerError`."""
        return self._make_foreign(name, "CONFIG") or configured.make_backend(name).coroutine_layer

    def make_test_backend(self, name: str) -> AnyLayer:
        """Make the layer of an alias with TEST_CONFIG in place of CONFIG; raises `InvalidChannelLayerError`."""
        configured.require_test_config(name)
        return self._make_foreign(name, "TEST_CONFIG") or configured.make_test_backend(name).coroutine_layer

    def __getitem__(self, key: str) -> AnyLayer:
        """The layer of an alias.

        Raises:
            KeyError: CHANNEL_LAYERS has no such alias.
            InvalidChannelLayerError: its entry cannot work.
        """
        placed = self._placed.get(key)
        if placed is not None:
            return placed
        found = self.backends.get(key)
        if found is not None and not isinstance(found, CoroutineChannelLayer):
            return found
        layer = None if key in registry else self._make_foreign(key, "CONFIG")
        if layer is None:
            # Asked each time: a test may have put another in its place.
            below = registry[key]
            if found is not None and found.channel_layer is getattr(below, "channel_layer", below):
                return found
            layer = getattr(below, "coroutine_layer", None) or CoroutineChannelLayer(below)
        self.backends[key] = layer
        return layer

    def __contains__(self, key: object) -> bool:
        return key in self.configs

    def set(self, key: str, layer: AnyLayer | None) -> AnyLayer | None:
        """Put a layer under an alias (``None`` removes it) and return what was there before, if it had been used."""
        before = self._placed.pop(key, None) or self.backends.pop(key, None)
        if layer is not None:
            self._placed[key] = self.backends[key] = layer
        return before

    def _make_foreign(self, alias: str, options: str) -> AnyLayer | None:
        """Make the layer of an alias if its class is for Channels 2 to 4 and not of this project."""
        config = configured.config(alias)
        return make_layer(alias, config, config.get(options)) if is_foreign(alias, config) else None

    def _forget(self, *, setting: str, **kwargs: object) -> None:
        if setting == "CHANNEL_LAYERS":
            self.backends = {}
            self._placed = {}


def get_channel_layer(alias: str = DEFAULT_CHANNEL_LAYER) -> AnyLayer:
    """The layer of an alias, or ``None`` if CHANNEL_LAYERS has no such alias.

    Raises:
        InvalidChannelLayerError: its entry cannot work; one sentence.
    """
    try:
        return channel_layers[alias]
    except UnknownChannelLayerError:
        return None


channel_layers = ChannelLayerManager()
"""The process-wide manager."""
