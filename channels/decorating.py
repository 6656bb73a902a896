"""Decoration of consumers of any kind: function or method, sync or async."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeGuard, TypeVar, cast

from asgiref.sync import sync_to_async

from channel_layer.channel import Message
from routing import passes_arguments

from .exceptions import SessionUnavailable
from .message import DecoratedMessage

P = ParamSpec("P")
R = TypeVar("R")

Around = Callable[[DecoratedMessage], AbstractContextManager[None]]

if TYPE_CHECKING:

    def iscoroutinefunction(function: object) -> TypeGuard[Callable[..., Coroutine[object, object, object]]]:
        """See `asgiref.sync.iscoroutinefunction`, whose answer checkers cannot use."""
else:
    from asgiref.sync import iscoroutinefunction


class Decorator(Protocol):
    """A decorator for consumers of any kind, which take the same arguments and return the same as before."""

    def __call__(self, func: Callable[P, R], /) -> Callable[P, R]: ...


def message_of(name: str, args: tuple[object, ...], kwargs: Mapping[str, object]) -> DecoratedMessage:
    """The message among a consumer's arguments: the first, or the second behind ``self``.

    Raises:
        ValueError: there is none.
    """
    if args and _is_message(args[0]):
        return args[0]
    for candidate in (*args[:2], kwargs.get("message")):
        if _resembles_message(candidate):
            return candidate
    raise ValueError(f"@{name} was called without a message; it decorates consumers, which take one first")


def _is_message(value: object) -> TypeGuard[DecoratedMessage]:
    return isinstance(value, Message)


def _resembles_message(value: object) -> TypeGuard[DecoratedMessage]:
    return hasattr(value, "reply_channel") and hasattr(value, "content")


def consumer_decorator(around: Around, name: str) -> Decorator:
    """Make a decorator that runs consumers inside ``around(message)``.

    Around an ``async def`` consumer entering and leaving happen in a thread, because both may use the
    database.
    """

    def decorator(func: Callable[P, R], /) -> Callable[P, R]:
        if iscoroutinefunction(func):
            return passes_arguments(cast("Callable[P, R]", awaiting(func)))

        @functools.wraps(func)
        def inner(*args: P.args, **kwargs: P.kwargs) -> R:
            with around(message_of(name, args, kwargs)):
                return func(*args, **kwargs)

        return passes_arguments(inner)

    def awaiting(func: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R | None]]:
        @functools.wraps(func)
        async def inner(*args: P.args, **kwargs: P.kwargs) -> R | None:
            message = message_of(name, args, kwargs)
            context = around(message)
            await sync_to_async(_enter)(context, message)
            try:
                result = await func(*args, **kwargs)
            except BaseException as error:
                if not await sync_to_async(context.__exit__)(type(error), error, error.__traceback__):
                    raise
                return None
            await sync_to_async(context.__exit__)(None, None, None)
            return result

        return inner

    functools.update_wrapper(decorator, around, assigned=("__doc__", "__module__"), updated=())
    decorator.__name__ = decorator.__qualname__ = name
    return decorator


def _enter(context: AbstractContextManager[None], message: DecoratedMessage) -> None:
    """Enter, and load what is loaded on first use: an event loop may not touch the database later.

    A session that cannot be had is an error for those who use it.
    """
    context.__enter__()
    for name in ("http_session", "channel_session"):
        session = getattr(message, name, None)
        if session is not None:
            with suppress(SessionUnavailable):
                session.keys()
    with suppress(SessionUnavailable):
        bool(getattr(message, "user", None))
