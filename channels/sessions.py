"""Sessions for consumers.

``message.channel_session`` belongs to a reply channel, which for a WebSocket means: to the connection.
By default it rides with the connection and costs no database query; with ``CHANNEL_SESSION_STORE =
"database"``, and for messages whose sender carries no state, it is a Django session.
``message.http_session`` is the session that the browser has with Django's views; for consumers of Channels 2 to 4, and
other ASGI applications, `SessionMiddleware` puts it into ``scope["session"]``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar, overload

from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError

from .decorating import Decorator, consumer_decorator
from .exceptions import ConsumeLater
from .message import DecoratedMessage
from .ordering import in_order
from .scope.cookies import CookieMiddleware
from .scope.sessions import InstanceSessionWrapper, SessionMiddleware, SessionMiddlewareStack
from .session_stores import http_session_key, open_channel_session, open_http_session, session_for_reply_channel

__all__ = [
    "CookieMiddleware",
    "InstanceSessionWrapper",
    "SessionMiddleware",
    "SessionMiddlewareStack",
    "channel_and_http_session",
    "channel_session",
    "enforce_ordering",
    "http_session",
    "session_for_reply_channel",
]

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("channels.sessions")


@contextmanager
def with_channel_session(message: DecoratedMessage) -> Iterator[None]:
    """Give a message its ``channel_session`` and save it afterwards if it was modified."""
    present = "channel_session" in vars(message)
    if not present:
        message.channel_session = open_channel_session(message)
    try:
        yield
    except BaseException:
        _save_after_error(message)
        raise
    session = message.channel_session
    if session is not None and session.modified and (present or not session.is_empty()):
        try:
            session.save()
        except UpdateError:
            # Deleted since this consumer began. The next try makes a new one.
            raise ConsumeLater from None


@contextmanager
def with_http_session(message: DecoratedMessage) -> Iterator[None]:
    """Give a message its ``http_session`` (``None`` if there is none) and save it if all went well."""
    if "http_session" not in vars(message):
        message.http_session = open_http_session(http_session_key(message))
    yield
    if message.http_session is not None and message.http_session.modified:
        message.http_session.save()


@contextmanager
def with_both_sessions(message: DecoratedMessage) -> Iterator[None]:
    """Both; the browser's session is remembered in the channel's for messages that bring no cookie."""
    with with_http_session(message), with_channel_session(message):
        remembered = settings.SESSION_COOKIE_NAME
        if message.http_session is None:
            message.http_session = open_http_session(message.channel_session.get(remembered))
        elif remembered not in message.channel_session:
            message.channel_session[remembered] = message.http_session.session_key
        yield


def channel_session(func: Callable[P, R]) -> Callable[P, R]:
    """Give a consumer ``message.channel_session``, saved when it ends, also if it raises.

    Use it to keep data for the life of a connection. It works on functions and methods, sync and async.

    Raises:
        ValueError: from the consumer, for a message without a reply channel.
        ConsumeLater: from the consumer, while another one creates or deletes the same session.
        SessionTooLarge: from the consumer, if the connection cannot carry it.
    """
    return consumer_decorator(with_channel_session, "channel_session")(func)


def http_session(func: Callable[P, R]) -> Callable[P, R]:
    """Give a consumer ``message.http_session``: the browser's session, found by cookie or ``?session_key=``.

    It is ``None`` if the message brings no session key, and saved if the consumer modified it and
    did not raise. No new session is made, and none gets another key, because there is no response to put its cookie
    on: a key that no session has is an empty one whose changes are not saved.
    """
    return consumer_decorator(with_http_session, "http_session")(func)


def channel_and_http_session(func: Callable[P, R]) -> Callable[P, R]:
    """Give a consumer both sessions, the browser's also on messages after ``websocket.connect``."""
    return consumer_decorator(with_both_sessions, "channel_and_http_session")(func)


@overload
def enforce_ordering(func: Callable[P, R], slight: bool = False) -> Callable[P, R]: ...


@overload
def enforce_ordering(func: None = None, slight: bool = False) -> Decorator: ...


def enforce_ordering(func: Callable[P, R] | None = None, slight: bool = False) -> object:
    """Run the messages of a connection one after the other, in the order in which they were sent.

    Connections that take turns, the default, do so anyway: then this costs nothing. For others the
    number of the next message is kept in the channel session, and messages that come too early wait.

    Args:
        func: the consumer, when used without parentheses.
        slight: no longer exists; must be false.

    Raises:
        ValueError: ``slight`` is set.
    """
    if slight:
        raise ValueError(
            "enforce_ordering(slight=True) no longer exists; remove the decorator: connect comes first anyway"
        )

    def decorator(consumer: Callable[P, R], /) -> Callable[P, R]:
        return channel_session(in_order(consumer))

    return decorator if func is None else decorator(func)


def _save_after_error(message: DecoratedMessage) -> None:
    session = message.channel_session
    if session is None or not session.modified or session.is_empty():
        return
    try:
        session.save()
    except Exception:  # the consumer's own error is the one to report
        logger.exception("the channel session of %s could not be saved", message.reply_channel)
