"""Other routes for the time of a test."""

from __future__ import annotations

import functools
import inspect
import unittest
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar, cast

from channel_layer.registry import DEFAULT_CHANNEL_LAYER
from channels.configured_layers import channel_layers
from routing import include
from routing.routes import Routing

from .layers import IsolatedLayer, placed

Decorated = TypeVar("Decorated", bound=Callable[..., object])


class apply_routes:
    """Replaces the routing of layers: as a context manager, or as a decorator of a test or a test class.

    The layers go on with the messages they hold. Blocks nest.

    Args:
        routes: a list of routes; one route; a list of such lists; or anything else that `Router` takes.
        aliases: the layers to change.

    Raises:
        RoutingError: on entering, for a route that cannot work.
    """

    def __init__(self, routes: object, aliases: Sequence[str] = (DEFAULT_CHANNEL_LAYER,)) -> None:
        self.routes = routes
        self._aliases = [aliases] if isinstance(aliases, str) else list(aliases)
        self._entered: list[ExitStack] = []

    def enter(self) -> None:
        """Apply the routes."""
        with ExitStack() as stack:
            for alias in self._aliases:
                layer = channel_layers[alias]
                routed = IsolatedLayer(  # type: ignore[abstract]
                    getattr(layer, "channel_layer", layer), alias, _routing(self.routes)
                )
                _ = routed.router  # built here, where a bad route is an error of the test
                stack.enter_context(placed(alias, routed))
            self._entered.append(stack.pop_all())

    def exit(self, exc_type: object = None, exc_val: object = None, exc_tb: object = None) -> None:
        """Restore the routing of before."""
        self._entered.pop().close()

    __enter__ = enter
    __exit__ = exit

    def __call__(self, decorated: Decorated) -> Decorated:
        """Decorate a function or method, sync or async, or every test of a class."""
        if isinstance(decorated, type):
            return cast("Decorated", self._decorate_class(decorated))
        if inspect.iscoroutinefunction(decorated):

            @functools.wraps(decorated)
            async def async_inner(*args: object, **kwargs: object) -> object:
                with self:
                    return await decorated(*args, **kwargs)

            return async_inner  # type: ignore[return-value]

        @functools.wraps(decorated)
        def inner(*args: object, **kwargs: object) -> object:
            with self:
                return decorated(*args, **kwargs)

        return inner  # type: ignore[return-value]

    def _decorate_class(self, cls: Any) -> Any:
        if not issubclass(cls, unittest.TestCase):
            for name, value in list(vars(cls).items()):
                if name.startswith("test") and inspect.isfunction(value):
                    setattr(cls, name, self(value))
            return cls
        set_up = cls.setUp

        @functools.wraps(set_up)
        def routed_set_up(test: unittest.TestCase) -> None:
            self.enter()
            test.addCleanup(self.exit)  # runs whatever becomes of setUp, and behind tearDown
            set_up(test)

        cls.setUp = routed_set_up
        return cls


def _routing(routes: Any) -> Routing:
    if isinstance(routes, (str, dict)):
        return routes
    if not isinstance(routes, (list, tuple)):
        return [routes]
    return [include(list(one)) if isinstance(one, (list, tuple)) else one for one in routes]
