"""`routing.routes`: what a project writes, and how errors show it."""

from __future__ import annotations

from routing import Include, Route, RouteClass, include, route, route_class

from .consumers import ByChannel, plain

HERE = "tests.routing.consumers"


def test_the_names_in_lower_case_are_what_projects_write() -> None:
    assert isinstance(route("a", plain), Route)
    assert isinstance(route_class(ByChannel), RouteClass)
    assert isinstance(include([]), Include)


def test_a_route_records_what_it_is_given() -> None:
    one = route("websocket.receive", plain, path="^/x", method="GET")
    assert (one.channels, one.consumer) == ("websocket.receive", plain)
    assert one.filters == {"path": "^/x", "method": "GET"}


def test_nothing_is_imported_or_compiled_before_a_router_is_built() -> None:
    assert route("a", "nowhere.consumer", path="(").consumer == "nowhere.consumer"
    assert route_class("nowhere.Consumer").consumer == "nowhere.Consumer"
    assert include("nowhere.routing").routing == "nowhere.routing"


def test_they_are_shown_as_they_are_written() -> None:
    assert repr(route("a", plain, path="^/x")) == f"route('a', {HERE}.plain, path='^/x')"
    assert repr(route("a", "project.consumers.plain")) == "route('a', 'project.consumers.plain')"
    assert repr(route_class(ByChannel, path="^/x")) == f"route_class({HERE}.ByChannel, path='^/x')"
    assert repr(include("project.routing.rooms", path="^/x")) == "include('project.routing.rooms', path='^/x')"


def test_an_included_list_or_dict_is_shown_short() -> None:
    assert repr(include([route("a", plain)] * 100)) == "include(<list>)"
    assert repr(include({"a": plain}, path="^/x")) == "include(<dict>, path='^/x')"
