"""`Client`: the owner of a reply channel, which sends messages and runs their consumers."""

from __future__ import annotations

import copy
import secrets
import string
from typing import Any

from asgiref.sync import sync_to_async

from channel_layer import delivery
from channel_layer.layer import ChannelLayer
from channel_layer.registry import DEFAULT_CHANNEL_LAYER
from channels.asked_state import hold
from channels.configured_layers import ChannelLayerWrapper, channel_layers
from channels.message import Message
from interface_server.options import Options
from routing.routes import Consumer

from .running import run_consumer

_NAME_LENGTH = 5


class Client:
    """Sends messages in the name of one reply channel, runs their consumers, and receives the replies.

    Nothing runs by itself: `consume` takes one message off a channel and runs its consumer, in the
    calling thread. The layer is looked up by its alias at each call.

    Args:
        alias: of the layer.

    Attributes:
        reply_channel: name of the channel where replies arrive; the alias and five letters.
    """

    def __init__(self, alias: str = DEFAULT_CHANNEL_LAYER) -> None:
        self.alias = alias
        self.reply_channel = alias + "".join(secrets.choice(string.ascii_letters) for _ in range(_NAME_LENGTH))
        # What a connection keeps for its consumers: it is gone with this client.
        self._state = hold(self.reply_channel, Options.state_max)

    @property
    def channel_layer(self) -> ChannelLayerWrapper:
        """The layer that has the alias now."""
        layer: ChannelLayerWrapper = channel_layers[self.alias]
        return layer

    def get_next_message(self, channel: str) -> Message | None:
        """Take the next message off a channel, ``None`` if there is none."""
        return next_message(self.channel_layer, channel)

    def get_consumer_by_channel(self, channel: str) -> Consumer | None:
        """Return the consumer of a message with only an empty ``text``; ``None`` without a route."""
        match = self.channel_layer.router.match(Message({"text": ""}, channel, self.channel_layer))
        return match[0] if match else None

    def send(self, to: str, content: delivery.Message | None = None) -> None:
        """Send a message, with this client's ``reply_channel`` unless it has one.

        Raises:
            TypeError: the content is not a dict.
            ChannelFull, InvalidMessage, MessageTooLarge: as `ChannelLayer.send`.
        """
        self.channel_layer.send(to, self._with_reply_channel(content))

    def consume(self, channel: str, fail_on_none: bool = True) -> Any:
        """Take the next message off a channel and run its consumer, whose messages are sent when it ends.

        Args:
            channel: name of the channel.
            fail_on_none: whether a missing message or route fails the test.

        Returns:
            The result of the consumer; ``None`` if it raised a `ChannelSocketException`, which is carried out as
            by a worker, or if there was nothing to run.

        Raises:
            AssertionError: there is no message, or no consumer for it, and ``fail_on_none`` is true.
            ConsumeLater: the consumer asked for it; the message is at the back of its channel again.
            DenyConnection: the consumer rejected the connection; the rejection has been sent.
            Exception: whatever else the consumer raised; what it had queued to send is dropped.
        """
        message = self.get_next_message(channel)
        if message is None:
            if fail_on_none:
                raise AssertionError(f"No message for channel {channel}")
            return None
        match = self.channel_layer.router.match(message)
        if match is None:
            if fail_on_none:
                raise AssertionError(f"Can't find consumer for message {message!r}: {message.content!r}")
            return None
        consumer, kwargs = match
        return run_consumer(message, consumer, kwargs, sender=type(self))

    async def aconsume(self, *args: Any, **kwargs: Any) -> Any:
        """Async form of `consume`, for ``async def`` tests."""
        return await sync_to_async(self.consume)(*args, **kwargs)

    def send_and_consume(self, channel: str, content: delivery.Message | None = None, fail_on_none: bool = True) -> Any:
        """`send` a message, then `consume` one of its channel."""
        self.send(channel, content)
        return self.consume(channel, fail_on_none=fail_on_none)

    async def asend_and_consume(self, *args: Any, **kwargs: Any) -> Any:
        """Async form of `send_and_consume`, for ``async def`` tests."""
        return await sync_to_async(self.send_and_consume)(*args, **kwargs)

    def receive(self) -> Any:
        """Take the next reply and return its content; ``None`` if there is none."""
        message = self.get_next_message(self.reply_channel)
        return message.content if message is not None else None

    def join_group(self, group_name: str) -> None:
        """Add the reply channel to a group."""
        self.channel_layer.group_add(group_name, self.reply_channel)

    def _with_reply_channel(self, content: delivery.Message | None) -> delivery.Message:
        if content is not None and not isinstance(content, dict):
            raise TypeError(f"the content of a message is a dict, not {type(content).__name__}: {content!r}")
        copied = copy.deepcopy(content) if content else {}
        if "order" in copied:
            # A test that numbers its messages means them to arrive in another order, as those without turns may.
            self._state.takes_turns = False
        copied.setdefault("reply_channel", self.reply_channel)
        return copied


def next_message(layer: ChannelLayer, channel: str) -> Message | None:
    """Take the next message off a channel of a layer, with its headers; ``None`` if there is none."""
    if channel.endswith("!"):
        # One message for each member of a group that it was sent to.
        name, content = layer.receive([channel])
        return None if content is None else Message(content, name, layer)
    deliveries = layer.receive_batch([channel])
    if not deliveries:
        return None
    [delivery] = deliveries
    return Message(delivery.message, delivery.channel, layer, delivery.headers or {})
