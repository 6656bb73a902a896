"""Layers for the time of one test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from channel_layer.layer import ChannelLayer
from channel_layer.memory import MemoryChannelLayer
from channel_layer.registry import channel_layers as registry
from channels.configured_layers import ChannelLayerWrapper, channel_layers
from routing import Router
from routing.routes import Consumer, Routing


class IsolatedLayer(ChannelLayerWrapper):
    """A layer with a routing of its own.

    Unlike a worker it does not fall back on Django's views or accept WebSockets that have no route: a
    test should see that a route is missing.
    """

    def _build_router(self, http_consumer: Consumer | None) -> Router:
        if http_consumer is not None:
            return super()._build_router(http_consumer)
        return Router(self.routing)  # type: ignore[arg-type]  # which says that there is none


@contextmanager
def placed(alias: str, layer: ChannelLayer) -> Iterator[None]:
    """Have ``layer`` under an alias inside a ``with`` block."""
    before = channel_layers.set(alias, layer)
    try:
        yield
    finally:
        channel_layers.set(alias, before)


@contextmanager
def in_memory(aliases: Iterable[str]) -> Iterator[None]:
    """Have empty memory layers with the routing of those configured inside a ``with`` block.

    The configured ones are not made for it, so that neither a server nor its driver is needed.

    Raises:
        InvalidChannelLayerError: CHANNEL_LAYERS has no such alias.
    """
    layers = [
        IsolatedLayer(MemoryChannelLayer(), alias, _routing_of(alias))  # type: ignore[abstract]
        for alias in aliases
    ]
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(placed(layer.alias, layer))
        yield


def _routing_of(alias: str) -> Routing | None:
    config = channel_layers.configs.get(alias)
    if alias not in registry and isinstance(config, dict) and "ROUTING" in config:
        routing = config["ROUTING"]
    else:
        routing = getattr(channel_layers[alias], "routing", [])
    # A copy, so that what a test adds to it is gone with the test.
    return routing.copy() if isinstance(routing, (list, dict)) else routing
