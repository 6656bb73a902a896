"""Routings that cannot work: refused when the router is built, with the route's name."""

from __future__ import annotations

import re
from typing import Any

import pytest

from routing import Router, RoutingError, include, route, route_class

from .consumers import ByChannel, in_room, plain

HERE = "tests.routing.consumers"


def error_of(routing: Any) -> str:
    with pytest.raises(RoutingError) as caught:
        Router(routing)
    return str(caught.value)


def test_a_path_to_a_missing_attribute_is_named_with_its_route() -> None:
    assert error_of([route("a", f"{HERE}.nobody", path="^/x")]) == (
        f"route('a', '{HERE}.nobody', path='^/x') in the routing: "
        f"'{HERE}.nobody' does not exist: '{HERE}' has no attribute 'nobody'"
    )


def test_a_consumer_that_cannot_be_called_is_refused() -> None:
    assert "must be callable, 5 (int) is not" in error_of([route("a", f"{HERE}.not_callable")])


def test_a_bad_regular_expression_names_its_filter() -> None:
    text = error_of([route("a", plain, path="(?P<room")])
    assert text.startswith(f"route('a', {HERE}.plain, path='(?P<room') in the routing: ")
    assert "the filter path='(?P<room' is not a regular expression" in text


@pytest.mark.parametrize("entry", ["text", ("a", plain), plain, None, 3, re.compile("^/x")])
def test_a_wrong_object_in_the_list_is_refused(entry: Any) -> None:
    text = error_of([entry])
    assert "is not a route; use route(), route_class(), include(), or an object with match()" in text
    assert type(entry).__name__ in text


@pytest.mark.parametrize("routing", [5, None, b"bytes"])
def test_a_routing_of_another_type_is_refused(routing: Any) -> None:
    assert "a routing is a list of routes, a dict or a dotted path to either" in error_of(routing)


def test_a_routing_path_to_text_is_refused() -> None:
    assert f"'{HERE}.as_text' is text" in error_of(f"{HERE}.as_text")


def test_a_routing_that_includes_itself_is_refused() -> None:
    assert f"the routing '{HERE}.circle' includes itself" in error_of(f"{HERE}.circle")


@pytest.mark.parametrize("channel", [None, 5, "", b"", b"\xe4"])
def test_a_channel_that_is_no_name_is_refused(channel: Any) -> None:
    assert "the channel is a name, not" in error_of([route(channel, plain)])


@pytest.mark.parametrize("channels", [["a", 5], ["a", ""], [b"\xe4"]])
def test_each_channel_of_a_list_is_a_name(channels: Any) -> None:
    assert "the channel is a name, not" in error_of([route(channels, plain)])


def test_channels_of_ascii_bytes_are_text() -> None:
    assert Router([route(b"a", plain), route(["b", b"c"], plain)]).channels == {"a", "b", "c"}


def test_a_list_of_no_channels_is_refused() -> None:
    assert error_of([route([], plain)]).endswith("in the routing: the list of channels is empty")


def test_a_dict_is_checked_like_a_list() -> None:
    assert f"'{HERE}.nobody' does not exist" in error_of({"a": f"{HERE}.nobody"})


def test_errors_in_included_routes_name_where_they_are() -> None:
    text = error_of([include([route("a", f"{HERE}.nobody")], path="^/chat")])
    assert text.startswith(f"route('a', '{HERE}.nobody') in include(<list>, path='^/chat') in the routing: ")


class TestClasses:
    def test_a_function_is_no_class_consumer(self) -> None:
        assert "has no method channel_names(); use route()" in error_of([route_class(plain)])

    def test_a_path_to_a_class_works(self) -> None:
        assert Router([route_class(f"{HERE}.ByChannel")]).channels == set(ByChannel.channel_names())


class TestSignatures:
    def test_a_consumer_that_takes_no_such_argument_is_refused(self) -> None:
        text = error_of([route("a", plain, path="/(?P<room>.)")])
        assert f"the consumer {HERE}.plain takes (message) and" in text
        assert "will be called with (message, room=…)" in text

    def test_a_consumer_that_misses_an_argument_is_refused(self) -> None:
        assert "missing a required argument: 'room'" in error_of([route("a", in_room)])

    def test_groups_of_an_include_count(self) -> None:
        Router([include([route("a", in_room)], path="/(?P<room>.)")])
        assert "unexpected keyword argument 'room'" in error_of([include([route("a", plain)], path="/(?P<room>.)")])
