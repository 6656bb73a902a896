"""The way from routes as written to the tree that is matched: resolve, check, sort by channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeGuard

from .exceptions import RoutingError
from .filters import Filter, compile_filters
from .resolve import resolve
from .routes import Consumer, Include, Matching, OwnEntry, Route, RouteClass
from .signature import complaint, describe


class Leaf(NamedTuple):
    """A consumer behind its filters."""

    filters: tuple[Filter, ...]
    consumer: Consumer


class Branch(NamedTuple):
    """Included routes of one channel behind the filters that cut."""

    filters: tuple[Filter, ...]
    children: tuple[Node, ...]


class Own(NamedTuple):
    """A routing object that matches messages itself."""

    entry: OwnEntry


Node = Leaf | Branch | Own
Tree = dict[str, list[Node]]


class Trail(NamedTuple):
    """The way on which a routing was reached: for errors, for circles, and for the groups collected on it."""

    where: str
    paths: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def entries(routing: object, trail: Trail) -> tuple[list[object], Trail]:
    """The entries of a routing given as list, dict or dotted path.

    Raises:
        RoutingError: it is none of these, its path names nothing, or it includes itself.
    """
    if isinstance(routing, str):
        if routing in trail.paths:
            raise RoutingError(trail.where, f"the routing {routing!r} includes itself")
        found = resolve(routing, trail.where)
        if isinstance(found, str):
            raise RoutingError(trail.where, f"{routing!r} is text; it must be a list of routes or a dict")
        return entries(found, trail._replace(where=routing, paths=(*trail.paths, routing)))
    if isinstance(routing, Mapping):
        return [Route(channel, consumer) for channel, consumer in routing.items()], trail
    if isinstance(routing, Iterable) and not isinstance(routing, (bytes, bytearray)):
        return list(routing), trail
    raise RoutingError(
        trail.where, f"a routing is a list of routes, a dict or a dotted path to either, not {describe_value(routing)}"
    )


def compile_entry(entry: object, trail: Trail) -> Tree:
    """Compile one entry of a routing; an object with `match` and `channel_names` of its own is to be asked.

    Raises:
        RoutingError: the entry cannot work.
    """
    if matches_itself(entry):
        return {channel: [Own(entry)] for channel in _channels_of(entry, f"{entry!r} in {trail.where}")}
    return compile_written(entry, trail)


def matches_itself(entry: object) -> TypeGuard[OwnEntry]:
    """True if an entry has a `match` or `channel_names` that is not that of `route`, `route_class` and `include`."""
    if isinstance(entry, type):
        return False
    if isinstance(entry, Matching):
        kind = type(entry)
        return kind.match is not Matching.match or kind.channel_names is not Matching.channel_names
    return callable(getattr(entry, "match", None)) and callable(getattr(entry, "channel_names", None))


def compile_written(entry: object, trail: Trail) -> Tree:
    """Compile a `route`, `route_class` or `include` as it was written, whatever its class has overridden.

    Raises:
        RoutingError: the entry cannot work.
    """
    where = f"{entry!r} in {trail.where}"
    if isinstance(entry, Include):
        return _compile_include(entry, trail, where)
    if isinstance(entry, RouteClass):
        consumer = _consumer(entry.consumer, where)
        channels = _channels_of(consumer, where)
    elif isinstance(entry, Route):
        channels = _names(entry.channels, where)
        consumer = _consumer(entry.consumer, where)
    else:
        raise RoutingError(
            trail.where,
            f"{describe_value(entry)} is not a route; use route(), route_class(), include(), "
            "or an object with match() and channel_names()",
        )
    filters = compile_filters(entry.filters, where)
    problem = complaint(consumer, dict.fromkeys((*trail.groups, *(name for part in filters for name in part.groups))))
    if problem:
        raise RoutingError(where, problem)
    return {channel: [Leaf(filters, consumer)] for channel in channels}


def describe_value(value: object) -> str:
    """A value and its type, short."""
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def _compile_include(entry: Include, trail: Trail, where: str) -> Tree:
    filters = compile_filters(entry.filters, where)
    groups = (*trail.groups, *(name for part in filters for name in part.groups))
    inner, below = entries(entry.routing, trail._replace(where=where, groups=groups))
    tree: Tree = {}
    for child in inner:
        for channel, nodes in compile_entry(child, below).items():
            tree.setdefault(channel, []).extend(nodes)
    if not filters:
        return tree
    return {channel: [Branch(filters, tuple(nodes))] for channel, nodes in tree.items()}


def _names(given: object, where: str) -> list[str]:
    names: dict[str, None] = {}
    for item in given if isinstance(given, (list, tuple, set, frozenset)) else [given]:
        name = item.decode("ascii") if isinstance(item, bytes) and item.isascii() else item
        if not isinstance(name, str) or not name:
            raise RoutingError(where, f"the channel is a name, not {describe_value(name)}")
        names[name] = None
    if not names:
        raise RoutingError(where, "the list of channels is empty")
    return list(names)


def _consumer(given: Consumer | str, where: str) -> Consumer:
    consumer = resolve(given, where) if isinstance(given, str) else given
    if not callable(consumer):
        raise RoutingError(where, f"the consumer must be callable, {describe_value(consumer)} is not")
    return consumer


def _channels_of(consumer: object, where: str) -> list[str]:
    names = getattr(consumer, "channel_names", None)
    if not callable(names):
        raise RoutingError(where, f"{describe(consumer)} has no method channel_names(); use route() for functions")
    return sorted(names())
