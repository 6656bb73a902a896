"""Routing under the names an application imports: of messages to consumers, and of scopes to ASGI applications."""

from __future__ import annotations

from routing import Include, Route, RouteClass, Router, RoutingError, include, route, route_class
from routing.router import accept as connect_consumer
from routing.router import ignore as null_consumer

from .scope.routers import ChannelNameRouter, ProtocolTypeRouter, URLRouter, get_default_application

__all__ = [
    "ChannelNameRouter",
    "Include",
    "ProtocolTypeRouter",
    "Route",
    "RouteClass",
    "Router",
    "RoutingError",
    "URLRouter",
    "connect_consumer",
    "get_default_application",
    "include",
    "null_consumer",
    "route",
    "route_class",
]
