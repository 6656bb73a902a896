"""The class `Message` and the store of messages that are held back, under the names that applications import."""

from __future__ import annotations

import time
from itertools import groupby
from typing import TYPE_CHECKING

from channel_layer.channel import AnswerableMessage, Channel, Group, Message
from channel_layer.delivery import Content, Outgoing
from channel_layer.exceptions import ChannelFull
from channel_layer.layer import ChannelLayer
from channel_layer.outbox import Outbox, begin_collecting, current_outbox, stop_collecting

if TYPE_CHECKING:  # models want the apps to be ready
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
    from django.contrib.sessions.backends.base import SessionBase

__all__ = ["AnswerableMessage", "DecoratedMessage", "Message", "PendingMessageStore", "pending_message_store"]

Message.givers.update(
    channel_session="decorate the consumer with @channel_session, of channels.sessions",
    http_session="decorate the consumer with @http_session, of channels.sessions",
    user="decorate the consumer with @channel_session_user or @http_session_user, of channels.auth",
)


class DecoratedMessage(AnswerableMessage):
    """A message with what the decorators of `channels.sessions` and `channels.auth` give it, for annotations.

    No message is made of this class: a decorator adds the attributes to the `Message` that there is.

    Attributes:
        channel_session: the session of the connection.
        http_session: the browser's session; ``None`` if it has none.
        user: who is logged in, loaded when first looked at.
    """

    channel_session: SessionBase
    http_session: SessionBase | None
    user: AbstractBaseUser | AnonymousUser


class PendingMessageStore:
    """Holds back what is sent, outside of a consumer as the worker does it inside of one.

    Attributes:
        retry_time: seconds for which messages to a full channel are tried.
        retry_interval: seconds between the tries.
    """

    retry_time: float = 2
    retry_interval: float = 0.2

    @property
    def active(self) -> bool:
        """True if messages sent here are held back now: in a consumer, or after `prepare`."""
        return current_outbox() is not None

    def prepare(self, **kwargs: object) -> None:
        """Hold back what this thread or task sends from now on. Inside of a consumer: forget what was sent so far."""
        outbox = current_outbox()
        if outbox is None:
            begin_collecting(_Own())
        else:
            outbox.clear()

    def append(self, sender: Channel | Group, message: Content) -> None:
        """Send to a channel or group, held back if that is under way."""
        sender.send(message)

    def send_and_flush(self, **kwargs: object) -> None:
        """Send what was held back, in order, and hold nothing back any more; in a consumer, send it now.

        Raises:
            ChannelFull: a channel was full for `retry_time`.
        """
        outbox = current_outbox()
        if outbox is None:
            return
        held, outbox[:] = list(outbox), []
        if isinstance(outbox, _Own):
            stop_collecting()
        self._send(held)

    def _send(self, held: Outbox) -> None:
        for _, entries in groupby(held, key=lambda entry: id(entry[0])):
            batch = list(entries)
            layer = batch[0][0]
            deadline = time.monotonic() + self.retry_time
            refused = layer.send_batch([item for _, item in batch])
            while refused:
                if time.monotonic() >= deadline:
                    raise ChannelFull(refused[0].target)
                time.sleep(self.retry_interval)
                refused = layer.send_batch(refused)


class _Own(list[tuple[ChannelLayer, Outgoing]]):
    """An outbox that `PendingMessageStore.prepare` has made, and no worker."""


pending_message_store = PendingMessageStore()
"""The one of the process; what it holds belongs to the thread or task that sent it."""
