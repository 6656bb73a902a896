"""Users for consumers.

Those of Channels 1 get ``message.user``, loaded from the database when it is first looked at. Those of Channels 2 to 4
get ``scope["user"]``, loaded once for each connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from django.contrib import auth
from django.utils.functional import SimpleLazyObject

from .decorating import consumer_decorator
from .message import DecoratedMessage
from .runtime.session_holder import SESSION_KEYS, SessionHolder
from .scope.users import (
    AuthMiddleware,
    AuthMiddlewareStack,
    UserLazyObject,
    get_user,
    login,
    logout,
    name_if_known,
)
from .sessions import with_both_sessions, with_channel_session, with_http_session

if TYPE_CHECKING:  # models want the apps to be ready
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
    from django.contrib.sessions.backends.base import SessionBase

__all__ = [
    "AuthMiddleware",
    "AuthMiddlewareStack",
    "UserLazyObject",
    "channel_and_http_session_user_from_http",
    "channel_session_user",
    "channel_session_user_from_http",
    "get_user",
    "http_session_user",
    "login",
    "logout",
    "transfer_user",
]

P = ParamSpec("P")
R = TypeVar("R")


def transfer_user(from_session: SessionBase, to_session: SessionBase) -> None:
    """Copy who is logged in from one session to another; nothing if nobody is."""
    if all(key in from_session for key in SESSION_KEYS):
        for key in SESSION_KEYS:
            to_session[key] = from_session[key]


@contextmanager
def _channel_user(message: DecoratedMessage) -> Iterator[None]:
    with with_channel_session(message):
        message.user = _user_of(message.channel_session)
        yield
        _note_name(message)


@contextmanager
def _http_user(message: DecoratedMessage) -> Iterator[None]:
    with with_http_session(message):
        message.user = _user_of(message.http_session)
        yield
        _note_name(message)


@contextmanager
def _http_user_remembered(message: DecoratedMessage) -> Iterator[None]:
    with with_http_session(message), with_channel_session(message):
        _transfer(message)
        message.user = _user_of(message.http_session)
        yield
        _note_name(message)


@contextmanager
def _http_user_remembered_with_session(message: DecoratedMessage) -> Iterator[None]:
    with with_both_sessions(message):
        _transfer(message)
        message.user = _user_of(message.http_session)
        yield
        _note_name(message)


def channel_session_user(func: Callable[P, R]) -> Callable[P, R]:
    """Give a consumer ``message.user`` from the channel session, and the channel session."""
    return consumer_decorator(_channel_user, "channel_session_user")(func)


def http_session_user(func: Callable[P, R]) -> Callable[P, R]:
    """Give a consumer ``message.user`` from the browser's session, and that session.

    The user is anonymous if the message brings no session.
    """
    return consumer_decorator(_http_user, "http_session_user")(func)


def channel_session_user_from_http(func: Callable[P, R]) -> Callable[P, R]:
    """Give a ``websocket.connect`` consumer the browser's user, and remember it in the channel session.

    Later messages of the connection get the user through `channel_session_user`.
    """
    return consumer_decorator(_http_user_remembered, "channel_session_user_from_http")(func)


def channel_and_http_session_user_from_http(func: Callable[P, R]) -> Callable[P, R]:
    """Give a consumer both sessions and the browser's user, on every message of the connection."""
    return consumer_decorator(_http_user_remembered_with_session, "channel_and_http_session_user_from_http")(func)


def _note_name(message: DecoratedMessage) -> None:
    """Note the user's name for operators, if the consumer has looked at the user."""
    message.user_name = name_if_known(message.user)


def _transfer(message: DecoratedMessage) -> None:
    if message.http_session is not None:
        transfer_user(message.http_session, message.channel_session)


def _user_of(session: SessionBase | None) -> AbstractBaseUser | AnonymousUser:
    def load() -> AbstractBaseUser | AnonymousUser:
        from django.contrib.auth.models import AnonymousUser  # models want the apps to be ready

        return AnonymousUser() if session is None else auth.get_user(SessionHolder(session))  # type: ignore[arg-type]

    user: AbstractBaseUser | AnonymousUser = SimpleLazyObject(load)  # type: ignore[assignment]  # once it is used
    return user
