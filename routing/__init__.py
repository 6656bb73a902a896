"""The choice of a consumer for each message. No I/O, no framework."""

from .exceptions import RoutingError
from .router import Router
from .routes import Include, Route, RouteClass, include, route, route_class
from .signature import passes_arguments

__all__ = [
    "Include",
    "Route",
    "RouteClass",
    "Router",
    "RoutingError",
    "include",
    "passes_arguments",
    "route",
    "route_class",
]
