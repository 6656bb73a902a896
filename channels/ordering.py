"""Order for messages whose connection does not wait for its turns to end."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar, cast

from asgiref.sync import sync_to_async

from channel_layer.channel import Channel
from channel_layer.delivery import LAST_ORDER
from routing import passes_arguments

from .decorating import iscoroutinefunction, message_of
from .message import DecoratedMessage

P = ParamSpec("P")
R = TypeVar("R")

NEXT = "__channels_next_order"
ORIGIN = "original_channel"


def in_order(func: Callable[P, R], /) -> Callable[P, R]:
    """Run a consumer when the message's number is up; to be used inside a channel session."""
    if iscoroutinefunction(func):
        return passes_arguments(cast("Callable[P, R]", _awaiting(func)))

    @functools.wraps(func)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        message = message_of("enforce_ordering", args, kwargs)
        if not _is_next(message):
            return None  # type: ignore[return-value]  # what a consumer returns goes nowhere
        result = func(*args, **kwargs)
        _count(message)
        return result

    return passes_arguments(inner)


def _awaiting(func: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R | None]]:
    @functools.wraps(func)
    async def inner(*args: P.args, **kwargs: P.kwargs) -> R | None:
        message = message_of("enforce_ordering", args, kwargs)
        if not await sync_to_async(_is_next)(message):
            return None
        result = await func(*args, **kwargs)
        await sync_to_async(_count)(message)
        return result

    return inner


def _is_next(message: DecoratedMessage) -> bool:
    """Tell if it is this message's turn; if it is not, put the message where it waits."""
    if message.carries_state:  # its connection sends the next message after this one's turn
        return True
    if "order" not in message:
        raise ValueError(f"the message on {message.channel.name!r} has no 'order'; @enforce_ordering needs one")
    order, session = int(message["order"]), message.channel_session
    if order in (session.get(NEXT, 0), LAST_ORDER):
        return True
    _park(message)
    # The number may have come up while this message was on its way to where it waits.
    if order == session.load().get(NEXT, 0):
        _release(message)
    return False


def _count(message: DecoratedMessage) -> None:
    """Make it the next message's turn."""
    if message.carries_state:
        return
    session = message.channel_session
    session[NEXT] = int(message["order"]) + 1
    session.save()
    session.modified = False
    _release(message)


def _waiting_channel(message: DecoratedMessage) -> str:
    # A '!' in the name would make it a channel of the interface server's.
    return "__wait__." + message.reply_channel.name.replace("!", ".").replace("?", ".")


def _park(message: DecoratedMessage) -> None:
    waiting = Channel(_waiting_channel(message), channel_layer=message.channel_layer)
    waiting.send({**message.content, ORIGIN: message.channel.name}, immediately=True)


def _release(message: DecoratedMessage) -> None:
    """Put the messages that wait for this connection back on their channels."""
    layer = message.channel_layer
    while True:
        name, content = layer.receive([_waiting_channel(message)])
        if name is None or content is None:
            return
        Channel(content.pop(ORIGIN), channel_layer=layer).send(content, immediately=True)
