"""`BaseConsumer`: one class for the messages of several channels."""

from __future__ import annotations

import functools
import inspect
from abc import ABCMeta
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, ClassVar, Self

from interface_server.logs.server_log import printable
from routing import RouteClass, route_class
from routing.routes import Pattern

from ..db import database_sync_to_async
from ..decorating import iscoroutinefunction
from ..message import DecoratedMessage
from .applying import Captured, Handler, channel_session, channel_session_user
from .refusing import INTERNAL, aclose_refused, refuse


def named(consumer: type) -> str:
    """Name a consumer class for errors."""
    return f"{consumer.__module__}.{consumer.__qualname__}"


class ConsumerType(ABCMeta):
    """Makes calling a consumer class run it: what is to be awaited comes back as a coroutine.

    Derived from `ABCMeta` so that abstract mixins can be combined with consumers.
    """

    def __call__(cls, message: DecoratedMessage, **kwargs: Captured) -> Any:
        """Run a consumer for a message; returns it, or the coroutine that runs it and then gives it."""
        consumer = super().__call__(message, **kwargs)
        return outcome_of(consumer)

    @property
    def __signature__(cls) -> inspect.Signature:
        """Parameters of a consumer, for the check of routes: without it `__call__` would seem to take anything."""
        constructor: Handler = cls.__init__  # type: ignore[misc]
        taken = list(inspect.signature(constructor, follow_wrapped=False).parameters.values())
        return inspect.Signature(taken[1:])


def outcome_of(consumer: object) -> object:
    """A consumer that has been initialised, or the coroutine that runs it."""
    outcome = vars(consumer).pop("_channels_outcome", None)
    return outcome if inspect.iscoroutine(outcome) else consumer


class BaseConsumer(metaclass=ConsumerType):
    """A consumer with a method for each channel, to be used with `route_class` or `as_route`.

    Each message gets an instance of its own: creating it runs the method. Methods may be ``async
    def``; the class then gives a coroutine, which the worker runs.

    Attributes:
        method_mapping: channel → name of the method that takes ``(message, **kwargs)``.
        channel_session: give messages a ``channel_session``.
        channel_session_user: give messages a ``channel_session`` and a ``user`` from it.
        message: the message.
        kwargs: what the route's filters captured.
    """

    method_mapping: ClassVar[Mapping[str, str]] = {}
    channel_session: bool = False
    channel_session_user: bool = False

    path: str

    def __init__(self, message: DecoratedMessage, **kwargs: Captured) -> None:
        self.message = message
        self.kwargs = kwargs
        self._channels_outcome = self.dispatch(message, **kwargs)

    @classmethod
    def channel_names(cls) -> set[str]:
        """Names of the channels whose messages this class takes."""
        return set(cls.method_mapping)

    @classmethod
    def as_route(cls, attrs: dict[str, object] | None = None, **kwargs: Pattern) -> RouteClass:
        """A route to this class.

        Args:
            attrs: attributes that the class has on this route.
            kwargs: the route's filters.

        Raises:
            TypeError: ``attrs`` is not a dict.
        """
        if attrs is None:
            return route_class(cls, **kwargs)
        if not isinstance(attrs, dict):
            raise TypeError(f"attrs of {named(cls)}.as_route() is a dict of attributes, not {attrs!r}")
        place = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
        make: Callable[..., type[BaseConsumer]] = type(cls)
        return route_class(make(cls.__name__, (cls,), {**place, **attrs}), **kwargs)

    def get_handler(self, message: DecoratedMessage, **kwargs: Captured) -> Handler:
        """The method for a message, with the decorators that the attributes ask for.

        Raises:
            LookupError: `method_mapping` does not name the message's channel.
            AttributeError: it names a method that is not there. In both cases a WebSocket gets closed
                with 1011.
        """
        handler = self.__method_for(message)
        if self.channel_session_user:
            return channel_session_user(handler)
        if self.channel_session:
            return channel_session(handler)
        return handler

    def dispatch(self, message: DecoratedMessage, **kwargs: Captured) -> object:
        """Run the method for a message.

        Returns:
            What it returns; or, if it is ``async def``, a coroutine that runs it and gives this consumer.
        """
        handler = self.get_handler(message, **kwargs)
        if iscoroutinefunction(handler):
            return self.__run(handler, message, kwargs)
        return handler(message, **kwargs)

    async def __run(
        self, handler: Callable[..., Awaitable[object]], message: DecoratedMessage, kwargs: dict[str, Captured]
    ) -> Self:
        # Only this coroutine exists until it runs, so that a worker which cannot run it any more may close it.
        await handler(message, **kwargs)
        return self

    def __method_for(self, message: DecoratedMessage) -> Handler:
        channel = message.channel.name
        name = self.method_mapping.get(channel)
        if name is None:
            refuse(message, INTERNAL, LookupError(
                f"{named(type(self))} got a message on {printable(channel)!r}, which its method_mapping does not name"
            ))  # fmt: skip
        method: Handler | None = getattr(self, name, None)
        if not callable(method):
            refuse(message, INTERNAL, AttributeError(
                f"{named(type(self))} has no method {name!r}, which its method_mapping names for {channel!r}; "
                f"define {name}(self, message, **kwargs)"
            ))  # fmt: skip
        if not self._channels_is_async(channel):
            return method
        return _awaiting(method, not iscoroutinefunction(method) and self._channels_blocks(name))

    @classmethod
    def _channels_is_async(cls, channel: str) -> bool:
        """Tell if a channel's messages are dealt with by a coroutine."""
        return iscoroutinefunction(getattr(cls, cls.method_mapping.get(channel, ""), None))

    @classmethod
    def _channels_blocks(cls, name: str) -> bool:
        """Tell if a method that is not a coroutine must not be called on an event loop."""
        return True


def _awaiting(method: Handler, blocks: bool) -> Callable[..., Coroutine[object, object, object]]:
    """Make a coroutine function of a method that is one, or that returns the coroutine of another one.

    Decorators see by that what they are around: they must not end before the coroutine has.
    """

    @functools.wraps(method)
    async def run(message: DecoratedMessage, **kwargs: Captured) -> object:
        try:
            result = await database_sync_to_async(method)(message, **kwargs) if blocks else method(message, **kwargs)
            return await result if inspect.isawaitable(result) else result
        except Exception as error:
            if not blocks:
                await aclose_refused(message, error)
            raise

    return run
