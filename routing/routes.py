"""What a project writes in its routing: `route`, `route_class`, `include`.

These objects only record. Paths are resolved, patterns compiled and consumers checked when a `Router`
is built from them, which is at start-up.
"""

from __future__ import annotations

from typing import Any

from .signature import describe


class Matching:
    """What every entry of a routing answers on its own.

    A `Router` asks the entries of this package nothing, it compiles them. A subclass that overrides one of these
    methods is asked, as is any other object that has both.
    """

    _router: Any = None

    def match(self, message: Any) -> tuple[Any, dict[str, Any]] | None:
        """The consumer for a message and its keyword arguments; ``None`` if this entry does not take it.

        Raises:
            RoutingError: the entry cannot work.
        """
        found: tuple[Any, dict[str, Any]] | None = self._alone.match(message)
        return found

    def channel_names(self) -> set[str]:
        """Names of the channels that the entry listens on; raises `RoutingError`."""
        return set(self._alone.channels)

    @property
    def _alone(self) -> Any:
        if self._router is None:
            from .router import Router  # which is made of these classes

            self._router = Router.of(self)
        return self._router


class Route(Matching):
    """Messages of a channel, or of several, that pass the filters go to a consumer.

    Args:
        channels: name of the channel, or a list of names.
        consumer: a callable ``(message, **named groups)``, sync or async, or its dotted path.
        filters: message key → regular expression, matched from the start of the key's value. Named
            groups become keyword arguments of the consumer. A message without the key does not match.
    """

    def __init__(self, channels: Any, consumer: Any, **filters: Any) -> None:
        self.channels = channels
        self.consumer = consumer
        self.filters = filters

    def __repr__(self) -> str:
        what = f"{self.channels!r}, {_shown(self.consumer)}"
        return f"route({_call(what, self.filters)})"


class RouteClass(Matching):
    """Messages of every channel that a consumer class names go to it.

    Args:
        consumer: a class with a method ``channel_names()``, or its dotted path.
        filters: as those of `Route`.
    """

    def __init__(self, consumer: Any, **filters: Any) -> None:
        self.consumer = consumer
        self.filters = filters

    def __repr__(self) -> str:
        return f"route_class({_call(_shown(self.consumer), self.filters)})"


class Include(Matching):
    """Another routing, for messages that pass the filters.

    What a filter matched is cut off the front of the value before the included routes see it, and its
    named groups are added to theirs; the inner one wins where both have a name.

    Args:
        routing: a list, a dict ``{channel: consumer}``, or a dotted path to either.
        filters: as those of `Route`.
    """

    def __init__(self, routing: Any, **filters: Any) -> None:
        self.routing = routing
        self.filters = filters

    def __repr__(self) -> str:
        what = repr(self.routing) if isinstance(self.routing, str) else f"<{type(self.routing).__name__}>"
        return f"include({_call(what, self.filters)})"


def _shown(consumer: Any) -> str:
    return repr(consumer) if isinstance(consumer, str) else describe(consumer)


def _call(what: str, filters: dict[str, Any]) -> str:
    return ", ".join([what, *(f"{key}={value!r}" for key, value in filters.items())])


route = Route
route_class = RouteClass
include = Include
