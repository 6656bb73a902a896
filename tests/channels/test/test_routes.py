"""`channels.test.routes`: a context manager, and a decorator of whatever holds tests."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any

import pytest

from channels import Channel, channel_layers, include, route
from channels.test import ChannelTestCase, Client, apply_routes
from routing import RoutingError

from .test_base import run


def one(message: Any) -> str:
    return "one"


def two(message: Any) -> str:
    return "two"


def routed() -> Any:
    return Client().get_consumer_by_channel("input")


ONE = [route("input", one)]


@pytest.mark.usefixtures("layer")
class TestAsAContextManager:
    def test_the_routes_hold_inside_and_no_longer(self) -> None:
        before = channel_layers["default"]
        with apply_routes(ONE):
            assert routed() is one
            assert channel_layers["default"].routing == ONE
            assert "gone" not in channel_layers["default"].router.channels
        assert channel_layers["default"] is before

    def test_also_after_an_error(self) -> None:
        before = channel_layers["default"]
        with pytest.raises(KeyError), apply_routes(ONE):
            raise KeyError
        assert channel_layers["default"] is before

    def test_blocks_nest(self) -> None:
        again = apply_routes(ONE)
        with again:
            with apply_routes(route("input", two)):
                assert routed() is two
                with again:
                    assert routed() is one
                assert routed() is two
            assert routed() is one

    def test_messages_stay(self) -> None:
        Channel("input").send({"value": 1})
        with apply_routes(ONE):
            assert Client().consume("input") == "one"

    def test_enter_and_exit_may_be_called(self) -> None:
        routes = apply_routes(ONE)
        before = channel_layers["default"]
        routes.enter()
        assert routed() is one
        routes.exit()
        assert channel_layers["default"] is before

    @pytest.mark.parametrize(
        "routes",
        [
            route("input", one),
            ONE,
            tuple(ONE),
            [ONE, [route("other", two)]],
            [include(ONE)],
            {"input": one},
            "tests.channels.test.test_routes.ONE",
        ],
        ids=["a route", "a list", "a tuple", "lists", "an include", "a dict", "a path"],
    )
    def test_routes_may_be_given_as(self, routes: Any) -> None:
        with apply_routes(routes):
            consumer = routed()
            assert consumer is not None
            assert consumer.__qualname__ == "one"

    def test_no_routes_are_routes_too(self) -> None:
        with apply_routes([]):
            assert channel_layers["default"].router.channels == set()

    def test_a_bad_route_is_an_error_at_once_and_changes_nothing(self) -> None:
        before = channel_layers["default"]
        with pytest.raises(RoutingError), apply_routes([route("input", "no.such.consumer")]):
            pass
        assert channel_layers["default"] is before

    def test_the_layers_named_are_changed_and_no_others(self) -> None:
        before = channel_layers["default"], channel_layers["other"]
        with apply_routes(ONE, aliases=["other"]):
            assert channel_layers["default"] is before[0]
            assert Client("other").get_consumer_by_channel("input") is one
        assert (channel_layers["default"], channel_layers["other"]) == before


@pytest.mark.usefixtures("layer")
class TestAsADecorator:
    def test_of_a_function(self) -> None:
        @apply_routes(ONE)
        def function(*args: Any, **kwargs: Any) -> Any:
            return routed(), args, kwargs

        assert function(1, two=2) == (one, (1,), {"two": 2})
        assert function.__name__ == "function"
        assert routed() is None

    def test_of_an_async_function(self) -> None:
        @apply_routes(ONE)
        async def function() -> Any:
            await asyncio.sleep(0)
            return routed()

        assert asyncio.run(function()) is one
        assert routed() is None

    def test_of_a_plain_class(self) -> None:
        @apply_routes(ONE)
        class Tests:
            def test_something(self) -> Any:
                return routed()

            def helper(self) -> Any:
                return routed()

        assert Tests().test_something() is one
        assert Tests().helper() is None


@apply_routes(ONE)
class ClassTests(ChannelTestCase):
    def setUp(self) -> None:
        assert routed() is one

    def tearDown(self) -> None:
        assert routed() is one

    def test_its_tests_have_the_routes(self) -> None:
        assert routed() is one

    @apply_routes([route("input", two)])
    def test_a_method_may_have_its_own(self) -> None:
        assert routed() is two


def test_a_class_whose_set_up_fails_leaves_nothing_behind() -> None:
    before = channel_layers["default"]

    def fail(self: Any) -> None:
        raise RuntimeError

    case = apply_routes(ONE)(type("Case", (unittest.TestCase,), {"setUp": fail, "test": fail}))
    assert len(run(lambda self: None, base=case).errors) == 2
    assert channel_layers["default"] is before
