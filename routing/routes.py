"""The entries of a routing: `route`, `route_class`, `include`.

These objects only record. Paths are resolved, patterns compiled and consumers checked when a `Router`
is built from them, which is at start-up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

from .signature import describe

if TYPE_CHECKING:
    from .router import Router

Consumer: TypeAlias = Callable[..., object]
"""Called with a message and the named groups of its route."""

Names = str | bytes | Collection[str | bytes]
"""A channel's name, or several."""

Pattern = str | bytes | re.Pattern[str] | re.Pattern[bytes]
"""A regular expression, compiled or not."""

Match: TypeAlias = tuple[Consumer, Mapping[str, object]]
"""The consumer of a message and its keyword arguments."""


class Named(Protocol):
    """Anything with a name, such as a channel."""

    @property
    def name(self) -> str:
        """The name."""


class RoutedMessage(Protocol):
    """The part of a message that is looked at to find its consumer."""

    @property
    def channel(self) -> Named:
        """The channel it came from."""

    def get(self, key: str, default: object = None) -> object:
        """The value of a key, or the default."""

    def copy(self) -> RoutedMessage:
        """A copy, to be changed for included routes."""

    def __setitem__(self, key: str, value: str) -> None: ...


class Matcher(Protocol):
    """Anything that finds the consumer of a message."""

    def match(self, message: RoutedMessage) -> Match | None:
        """The consumer of a message and its keyword arguments; ``None`` if there is none."""


class MessageRouter(Matcher, Protocol):
    """The part of a `Router` that a worker uses: it also names the channels to listen on."""

    @property
    def channels(self) -> Collection[str]:
        """Names of the channels."""


class OwnEntry(Matcher, Protocol):
    """An entry of a routing with methods of its own."""

    def channel_names(self) -> Iterable[str]:
        """See `Matching.channel_names`."""


class Matching:
    """The methods that every entry of a routing has.

    A `Router` asks the entries of this package nothing, it compiles them. A subclass that overrides one of these
    methods is asked, as is any other object that has both.
    """

    _router: Router | None = None

    def match(self, message: RoutedMessage) -> Match | None:
        """The consumer for a message and its keyword arguments; ``None`` if this entry does not take it.

        Raises:
            RoutingError: the entry cannot work.
        """
        return self._alone.match(message)

    def channel_names(self) -> set[str]:
        """Names of the channels that the entry listens on.

        Raises:
            RoutingError: the entry cannot work.
        """
        return self._alone.channels

    @property
    def _alone(self) -> Router:
        """A router of this entry and no other."""
        if self._router is None:
            from .router import Router  # which is made of these classes

            self._router = Router.of(self)
        return self._router


Entry: TypeAlias = Matching | OwnEntry
"""An entry of a list of routes."""

Routing: TypeAlias = str | Mapping[str, Consumer | str] | Iterable[Entry]
"""A dotted path to a routing, a dict ``{channel: consumer}``, or a list of routes."""


class Route(Matching):
    """Messages of a channel, or of several, that pass the filters go to a consumer.

    Args:
        channels: name of the channel, or a list of names.
        consumer: a callable ``(message, **named groups)``, sync or async, or its dotted path.
        filters: message key → regular expression, matched from the start of the key's value. Named
            groups become keyword arguments of the consumer. A message without the key does not match.
    """

    def __init__(self, channels: Names, consumer: Consumer | str, **filters: Pattern) -> None:
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

    def __init__(self, consumer: Consumer | str, **filters: Pattern) -> None:
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

    def __init__(self, routing: Routing, **filters: Pattern) -> None:
        self.routing = routing
        self.filters = filters

    def __repr__(self) -> str:
        what = repr(self.routing) if isinstance(self.routing, str) else f"<{type(self.routing).__name__}>"
        return f"include({_call(what, self.filters)})"


def _shown(consumer: Consumer | str) -> str:
    """A consumer as it is written in a routing."""
    return repr(consumer) if isinstance(consumer, str) else describe(consumer)


def _call(what: str, filters: dict[str, Pattern]) -> str:
    return ", ".join([what, *(f"{key}={value!r}" for key, value in filters.items())])


route = Route
route_class = RouteClass
include = Include
