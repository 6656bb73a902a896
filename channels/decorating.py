"""Decoration of consumers of any kind: function or method, sync or async."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async

from channel_layer.channel import Message
from routing import passes_arguments

from .exceptions import SessionUnavailable

Consumer = Callable[..., Any]
Around = Callable[[Any], AbstractContextManager[None]]


def message_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The message among a consumer's arguments: the first, or the second behind ``self``."""
    if args and isinstance(args[0], Message):
        return args[0]
    for candidate in (*args[:2], kwargs.get("message")):
        if hasattr(candidate, "reply_channel") and hasattr(candidate, "content"):
            return candidate
    raise ValueError(f"@{name} was called without a message; it decorates consumers, which take one first")


def consumer_decorator(around: Around, name: str) -> Callable[[Consumer], Consumer]:
    """Make a decorator that runs consumers inside ``around(message)``.

    Around an ``async def`` consumer entering and leaving happen in a thread, because both may use the
    database.
    """

    def decorator(func: Consumer) -> Consumer:
        @functools.wraps(func)
        def inner(*args: Any, **kwargs: Any) -> Any:
            with around(message_of(name, args, kwargs)):
                return func(*args, **kwargs)

        @functools.wraps(func)
        async def async_inner(*args: Any, **kwargs: Any) -> Any:
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

        return passes_arguments(async_inner if iscoroutinefunction(func) else inner)

    functools.update_wrapper(decorator, around, assigned=("__doc__", "__module__"), updated=())
    decorator.__name__ = decorator.__qualname__ = name
    return decorator


def _enter(context: AbstractContextManager[None], message: Message) -> None:
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
