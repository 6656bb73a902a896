"""`routing.exceptions`."""

from __future__ import annotations

import pickle

from routing import RoutingError


def test_the_text_says_where_and_why() -> None:
    assert (
        str(RoutingError("route('a', 'b.c')", "there is no module 'b'")) == "route('a', 'b.c'): there is no module 'b'"
    )


def test_its_parts_can_be_read() -> None:
    error = RoutingError("the routing", "it is empty")
    assert (error.where, error.reason) == ("the routing", "it is empty")


def test_it_is_a_value_error() -> None:
    assert issubclass(RoutingError, ValueError)


def test_it_travels_between_processes() -> None:
    assert str(pickle.loads(pickle.dumps(RoutingError("here", "why")))) == "here: why"
