"""Order for messages whose connection does not wait for its turns to end."""

from __future__ import annotations

import functools
from typing import Any

from channel_layer.channel import Channel

from .decorating import Consumer, message_of

NEXT = "__channels_next_order"
ORIGIN = "original_channel"


def in_order(func: Consumer) -> Consumer:
    """Run a consumer when the message's number is up; to be used inside a channel session."""

    @functools.wraps(func)
    def inner(*args: Any, **kwargs: Any) -> Any:
        message = message_of("enforce_ordering", args, kwargs)
        if message.carries_state:  # its connection sends the next message after this one's turn
            return func(*args, **kwargs)
        if "order" not in message:
            raise ValueError(f"the message on {message.channel.name!r} has no 'order'; @enforce_ordering needs one")
        order, session = int(message["order"]), message.channel_session
        if order != session.get(NEXT, 0):
            _park(message)
            # The number may have come up while this message was on its way to where it waits.
            if order == session.load().get(NEXT, 0):
                _release(message)
            return None
        result = func(*args, **kwargs)
        session[NEXT] = order + 1
        session.save()
        session.modified = False
        _release(message)
        return result

    return inner


def _waiting_channel(message: Any) -> str:
    # A '!' in the name would make it a channel of the interface server's.
    return "__wait__." + str(message.reply_channel.name).replace("!", ".").replace("?", ".")


def _park(message: Any) -> None:
    waiting = Channel(_waiting_channel(message), channel_layer=message.channel_layer)
    waiting.send({**message.content, ORIGIN: message.channel.name}, immediately=True)


def _release(message: Any) -> None:
    """Put the messages that wait for this connection back on their channels."""
    layer = message.channel_layer
    while True:
        name, content = layer.receive([_waiting_channel(message)])
        if name is None:
            return
        Channel(content.pop(ORIGIN), channel_layer=layer).send(content, immediately=True)
