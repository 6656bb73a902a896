"""The routing room, under the names an application imports."""

from __future__ import annotations

from routing import Include, Route, RouteClass, Router, RoutingError, include, route, route_class
from routing.router import accept as connect_consumer
from routing.router import ignore as null_consumer

__all__ = [
    "Include",
    "Route",
    "RouteClass",
    "Router",
    "RoutingError",
    "connect_consumer",
    "include",
    "null_consumer",
    "route",
    "route_class",
]
