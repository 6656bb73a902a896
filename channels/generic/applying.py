"""The decorators of sessions and users, made ready to be put around a method for each message.

Decorating anew each time would cost more than what the decorators do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction

from .. import auth, sessions

Handler = Callable[..., Any]


def ready_made(decorator: Callable[[Handler], Handler]) -> Callable[[Handler], Handler]:
    """Make a decorator that does the same to handlers ``(message, **kwargs)``, sync or async, at little cost."""
    around_call, around_await = decorator(_call), decorator(_await)

    def apply(handler: Handler) -> Handler:
        def inner(message: Any, **kwargs: Any) -> Any:
            return around_call(message, handler, kwargs)

        async def async_inner(message: Any, **kwargs: Any) -> Any:
            return await around_await(message, handler, kwargs)

        return async_inner if iscoroutinefunction(handler) else inner

    return apply


def _call(message: Any, handler: Handler, kwargs: dict[str, Any]) -> Any:
    return handler(message, **kwargs)


async def _await(message: Any, handler: Handler, kwargs: dict[str, Any]) -> Any:
    return await handler(message, **kwargs)


channel_session = ready_made(sessions.channel_session)
channel_session_user = ready_made(auth.channel_session_user)
channel_session_user_from_http = ready_made(auth.channel_session_user_from_http)
channel_and_http_session_user_from_http = ready_made(auth.channel_and_http_session_user_from_http)
enforce_ordering = ready_made(sessions.enforce_ordering)
