"""The routing room, under the names an application imports."""

from __future__ import annotations

from routing import Include, Route, RouteClass, Router, RoutingError, include, route, route_class

__all__ = ["Include", "Route", "RouteClass", "Router", "RoutingError", "include", "route", "route_class"]
