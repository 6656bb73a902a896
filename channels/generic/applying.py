"""The decorators of sessions and users, made ready to be put around a method for each message.

Decorating anew each time would cost more than what the decorators do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from .. import auth, sessions
from ..decorating import Decorator, iscoroutinefunction
from ..message import DecoratedMessage

Captured: TypeAlias = Any
"""A keyword argument of a consumer, most often what its route has captured.

Any, because methods that override those of the classes here name the arguments they take, each with its own type.
"""

Handler: TypeAlias = Callable[..., object]
"""Called as ``(message, **captured)``, sync or async."""


def ready_made(decorator: Decorator) -> Callable[[Handler], Handler]:
    """Make a decorator that does the same to handlers ``(message, **kwargs)``, sync or async, at little cost."""
    around_call, around_await = decorator(_call), decorator(_await)

    def apply(handler: Handler) -> Handler:
        if iscoroutinefunction(handler):

            async def async_inner(message: DecoratedMessage, **kwargs: Captured) -> object:
                return await around_await(message, handler, kwargs)

            return async_inner

        def inner(message: DecoratedMessage, **kwargs: Captured) -> object:
            return around_call(message, handler, kwargs)

        return inner

    return apply


def _call(message: DecoratedMessage, handler: Handler, kwargs: dict[str, Captured]) -> object:
    return handler(message, **kwargs)


async def _await(
    message: DecoratedMessage, handler: Callable[..., Awaitable[object]], kwargs: dict[str, Captured]
) -> object:
    return await handler(message, **kwargs)


channel_session = ready_made(sessions.channel_session)
channel_session_user = ready_made(auth.channel_session_user)
channel_session_user_from_http = ready_made(auth.channel_session_user_from_http)
channel_and_http_session_user_from_http = ready_made(auth.channel_and_http_session_user_from_http)
enforce_ordering = ready_made(sessions.enforce_ordering)
