"""The named layers of a process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .exceptions import UnknownLayer

if TYPE_CHECKING:
    from .layer import ChannelLayer

DEFAULT_CHANNEL_LAYER = "default"


class LayerRegistry:
    """Alias → layer, each made on first use.

    Thread-safe. Layers that are not alone here are told so (`ChannelLayer.beside_others`).

    Who knows the configuration (a framework's settings) sets `factory`, a callable that
    takes an alias and returns a layer or raises for an alias it does not know.
    """

    def __init__(self, factory: Callable[[str], ChannelLayer] | None = None) -> None:
        self.factory = factory
        self._layers: dict[str, ChannelLayer] = {}
        self._lock = threading.RLock()

    def __getitem__(self, alias: str) -> ChannelLayer:
        layer = self._layers.get(alias)
        if layer is not None:
            return layer
        with self._lock:
            if alias not in self._layers:
                if self.factory is None:
                    raise UnknownLayer(
                        f"no channel layer {alias!r}: nothing is configured. Configure CHANNEL_LAYERS in Django, "
                        "or set one with channel_layer.registry.channel_layers.set(alias, layer)."
                    )
                self._put(alias, self.factory(alias))
            return self._layers[alias]

    def __contains__(self, alias: str) -> bool:
        return alias in self._layers

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._layers))

    def set(self, alias: str, layer: ChannelLayer | None) -> ChannelLayer | None:
        """Put a layer under an alias (``None`` removes it) and return what was there before."""
        with self._lock:
            before = self._layers.pop(alias, None)
            if layer is not None:
                self._put(alias, layer)
            return before

    def _put(self, alias: str, layer: ChannelLayer) -> None:
        self._layers[alias] = layer
        if len(self._layers) > 1:
            for one in self._layers.values():
                if hasattr(one, "beside_others"):  # tests put other things in place of a layer
                    one.beside_others()


channel_layers = LayerRegistry()
"""The process-wide registry that `Channel` and `Group` look aliases up in."""
