"""`Router`: the search for the consumer of a message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from .compiler import Branch, Leaf, Node, Own, Trail, Tree, compile_entry, compile_written, entries
from .filters import Filter, as_text
from .routes import Consumer, Entry, Match, Matching, Route, RoutedMessage, Routing


class Router:
    """A routing, resolved, compiled and grouped by channel.

    `match` may be called from any thread; `add_route` belongs to start-up.

    Args:
        routing: a list of `route`, `route_class`, `include` and objects with ``match`` and ``channel_names``;
            a dict ``{channel: consumer}``; or a dotted path to either.

    Raises:
        RoutingError: a route cannot work; the text names it.
    """

    def __init__(self, routing: Routing = ()) -> None:
        self._tree: Tree = {}
        self._connect_default: Consumer = accept
        given, trail = entries(routing, Trail("the routing"))
        for entry in given:
            self._add(entry, trail)

    @classmethod
    def of(cls, entry: Matching) -> Router:
        """The router of one `route`, `route_class` or `include` as it was written.

        Raises:
            RoutingError: it cannot work.
        """
        router = cls()
        router._tree = compile_written(entry, Trail("the routing"))
        return router

    def add_route(self, entry: Entry) -> None:
        """Add a route, class route or include behind those already there.

        Raises:
            RoutingError: it cannot work.
        """
        self._add(entry, Trail("add_route()"))

    @property
    def channels(self) -> set[str]:
        """Names of all channels that some route listens on."""
        return set(self._tree)

    def is_chosen(self, channel: str) -> bool:
        """True if a route of the project's own, besides those of `check_default`, listens on a channel."""
        return any(
            type(node) is not Leaf or node.consumer not in (self._connect_default, ignore)
            for node in self._tree.get(channel, ())
        )

    def match(self, message: RoutedMessage) -> Match | None:
        """Find the first route that takes a message.

        Returns:
            The consumer and its keyword arguments, or ``None``.
        """
        nodes = self._tree.get(message.channel.name)
        return None if nodes is None else _first(nodes, message, {}, {})

    def may_match(self, channel: str, key: str, value: object) -> bool:
        """True if some route of a channel can take a message with this value of a key, whatever else it holds."""
        return _may_pass(self._tree.get(channel, ()), key, as_text(value))

    def patterns(self, channel: str, key: str) -> list[tuple[str, ...]]:
        """For each route of a channel its filters of a key as they were written, those of includes first."""
        return list(_patterns(self._tree.get(channel, ()), key, ()))

    def check_default(self, http_consumer: Consumer | None = None, connect_consumer: Consumer | None = None) -> None:
        """Add routes for the HTTP and WebSocket messages that no other route takes.

        ``websocket.receive``, ``websocket.disconnect`` and ``http.disconnect`` are taken off the layer and ignored.

        Args:
            http_consumer: gets ``http.request``; without it such requests stay unrouted.
            connect_consumer: gets ``websocket.connect``; without it such sockets are accepted.

        Raises:
            RoutingError: a consumer cannot work.
        """
        if http_consumer is not None:
            self.add_route(Route("http.request", http_consumer))
        self._connect_default = connect_consumer if connect_consumer is not None else accept
        self.add_route(Route("websocket.connect", self._connect_default))
        self.add_route(Route("websocket.receive", ignore))
        self.add_route(Route("websocket.disconnect", ignore))
        self.add_route(Route("http.disconnect", ignore))

    def _add(self, entry: object, trail: Trail) -> None:
        for channel, nodes in compile_entry(entry, trail).items():
            self._tree.setdefault(channel, []).extend(nodes)


class _ReplyChannel(Protocol):
    def send(self, content: dict[str, object], /) -> object: ...


class _Opened(Protocol):
    """The part of a ``websocket.connect`` message that is answered."""

    @property
    def reply_channel(self) -> _ReplyChannel: ...


def accept(message: _Opened, *args: object, **kwargs: object) -> None:
    """Accept a WebSocket that no route is interested in."""
    message.reply_channel.send({"accept": True})


def ignore(*args: object, **kwargs: object) -> None:
    """Do nothing with a message."""


def _first(
    nodes: Iterable[Node], message: RoutedMessage, cut: Mapping[str, str], outer: dict[str, object]
) -> Match | None:
    """The first node that takes a message.

    Args:
        cut: key → its value without what the filters of includes have matched.
        outer: the named groups of those filters.
    """
    for node in nodes:
        if type(node) is Leaf:
            found = _pass(node.filters, message, cut, outer, None)
            if found is not None:
                return node.consumer, found
        elif type(node) is Branch:
            rest = dict(cut)
            groups = _pass(node.filters, message, cut, outer, rest)
            if groups is not None:
                inner = _first(node.children, message, rest, groups)
                if inner is not None:
                    return inner
        elif type(node) is Own:
            own = node.entry.match(_without(message, cut) if cut else message)
            if own is not None:
                return own[0], {**outer, **own[1]}
    return None


def _without(message: RoutedMessage, cut: Mapping[str, str]) -> RoutedMessage:
    """A copy of a message without the parts that the filters of includes have cut off."""
    twin = message.copy()
    for key, rest in cut.items():
        twin[key] = rest
    return twin


def _pass(
    filters: tuple[Filter, ...],
    message: RoutedMessage,
    cut: Mapping[str, str],
    outer: dict[str, object],
    rest: dict[str, str] | None,
) -> dict[str, object] | None:
    """Collect the named groups, ``None`` if a filter does not match; ``rest`` gets the values without what matched."""
    groups = outer.copy()
    for key, match, names, _ in filters:
        text = cut.get(key) if key in cut else as_text(message.get(key))
        found = None if text is None else match(text)
        if found is None:
            return None
        if names:
            groups.update(found.groupdict())
        if rest is not None and text is not None:
            rest[key] = text[found.end() :]
    return groups


def _may_pass(nodes: Iterable[Node], key: str, text: str | None) -> bool:
    """True if one of the nodes can take a message with this text under a key."""
    for node in nodes:
        if isinstance(node, Own):
            return True  # an object of somebody else's: its condition is unknown
        rest = text
        for name, match, _, _ in node.filters:
            found = None if name != key or rest is None else match(rest)
            if name == key:
                if found is None or rest is None:
                    break
                rest = rest[found.end() :] if type(node) is Branch else rest
        else:
            if type(node) is Leaf or (type(node) is Branch and _may_pass(node.children, key, rest)):
                return True
    return False


def _patterns(nodes: Iterable[Node], key: str, outer: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    """The patterns of a key for each route below the nodes, behind those of the includes above."""
    for node in nodes:
        filters = () if isinstance(node, Own) else node.filters
        all_of_key = (*outer, *(part.pattern for part in filters if part.key == key))
        if type(node) is Branch:
            yield from _patterns(node.children, key, all_of_key)
        else:
            yield all_of_key
