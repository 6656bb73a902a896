"""Several streams over one WebSocket: frames are ``{"stream": name, "payload": {...}}``."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn

from django.core.serializers.json import DjangoJSONEncoder

from channel_layer.channel import Channel, Group
from channel_layer.messages import SocketReply
from interface_server.logs.server_log import printable

from ..db import database_sync_to_async
from ..decorating import iscoroutinefunction
from ..exceptions import SendNotAvailableOnDemultiplexer
from ..message import DecoratedMessage
from .applying import Captured, Handler
from .base import BaseConsumer, named, outcome_of
from .json_text import Json, JsonWebsocketConsumer
from .refusing import INTERNAL, UNUSABLE, BadFrame, refuse


class WebsocketMultiplexer:
    """Sends on one stream. The consumers of a stream get it as the keyword argument ``multiplexer``.

    Attributes:
        stream: the stream's name.
        reply_channel: where the client is.
    """

    stream: str
    reply_channel: Channel

    def __init__(self, stream: str, reply_channel: Channel) -> None:
        self.stream = stream
        self.reply_channel = reply_channel

    def send(self, payload: Json) -> None:
        """Send a payload to the client."""
        self.reply_channel.send(self.encode(self.stream, payload))

    @classmethod
    def encode_json(cls, content: Json) -> str:
        """From content to text; dates, decimals and UUIDs are written as Django writes them."""
        return json.dumps(content, cls=DjangoJSONEncoder)

    @classmethod
    def encode(cls, stream: str, payload: Json) -> SocketReply:
        """The message that carries a payload on a stream."""
        return {"text": cls.encode_json({"stream": stream, "payload": payload})}

    @classmethod
    def group_send(cls, name: str, stream: str, payload: Json, close: bool = False) -> None:
        """Send a payload on a stream to every socket of a group."""
        message = cls.encode(stream, payload)
        if close:
            message["close"] = True
        Group(name).send(message)


class WebsocketDemultiplexer(JsonWebsocketConsumer):
    """Gives the frames of each stream to a consumer of its own.

    Every consumer gets the socket's connect and disconnect, and ``websocket.receive`` for its own
    stream with the payload as JSON text. Its ``send`` is the demultiplexer's, which raises: it would
    send frames without a stream. A client that sends something else than a frame of a known stream is
    closed with 1007, and `ValueError` is logged.

    Attributes:
        consumers: name of the stream → consumer, a class or a function.
        multiplexer_class: what the consumers get to send with.
    """

    consumers: Mapping[str, Handler] = {}
    multiplexer_class: ClassVar[type[WebsocketMultiplexer]] = WebsocketMultiplexer

    def receive(self, content: Json, **kwargs: Captured) -> object:  # type: ignore[override]
        """Give a frame to the consumer of its stream."""
        if not isinstance(content, dict) or "stream" not in content or "payload" not in content:
            self.__refuse('a dict with "stream" and "payload" is expected', content)
        payload = content["payload"]
        if not isinstance(payload, dict):
            self.__refuse("the payload must be a dict", content)
        for stream, consumer in self.consumers.items():
            if stream == content["stream"]:
                return self.__forward_payload(stream, consumer, payload, kwargs)
        known = ", ".join(repr(stream) for stream in self.consumers)
        self.__refuse(f"there is no such stream; 'consumers' has {known or 'none'}", content)

    def connect(self, message: DecoratedMessage, **kwargs: Captured) -> object:
        """Accept, then connect every consumer."""
        self.message.reply_channel.send({"accept": True})
        return self.__forward_to_all(message, kwargs)

    def disconnect(self, message: DecoratedMessage, **kwargs: Captured) -> object:
        """Disconnect every consumer."""
        return self.__forward_to_all(message, kwargs)

    def send(self, *args: object, **kwargs: object) -> NoReturn:
        """Raises `SendNotAvailableOnDemultiplexer`."""
        raise SendNotAvailableOnDemultiplexer(
            "send() would send a frame without a stream; use send() of the keyword argument 'multiplexer'"
        )

    @classmethod
    def group_send(cls, *args: object, **kwargs: object) -> NoReturn:
        """Raises `SendNotAvailableOnDemultiplexer`."""
        raise SendNotAvailableOnDemultiplexer(
            "group_send() would send a frame without a stream; use WebsocketMultiplexer.group_send()"
        )

    def __forward_payload(self, stream: str, consumer: Handler, payload: Json, kwargs: dict[str, Captured]) -> object:
        text = self.encode_json(payload)
        with self.__text_is(text):
            result = self.__forward(stream, consumer, self.message, kwargs)
        return self.__with_text(text, result) if inspect.isawaitable(result) else None

    async def __with_text(self, text: str, result: Awaitable[object]) -> None:
        with self.__text_is(text):
            await result

    @contextmanager
    def __text_is(self, text: str) -> Iterator[None]:
        """Have a payload in the message; a consumer that asks for it later gets the whole frame again."""
        frame = self.message.content["text"]
        self.message.content["text"] = text
        try:
            yield
        finally:
            self.message.content["text"] = frame

    def __forward_to_all(self, message: DecoratedMessage, kwargs: dict[str, Captured]) -> object:
        if self._channels_is_async(message.channel.name):
            return self.__aforward_to_all(message, kwargs)
        for stream, consumer in self.consumers.items():
            self.__forward(stream, consumer, message, kwargs)
        return None

    async def __aforward_to_all(self, message: DecoratedMessage, kwargs: dict[str, Captured]) -> None:
        for stream, consumer in self.consumers.items():
            result = await database_sync_to_async(self.__forward)(stream, consumer, message, kwargs)
            if inspect.isawaitable(result):
                await result

    def __forward(
        self, stream: str, consumer: Handler, message: DecoratedMessage, kwargs: dict[str, Captured]
    ) -> object:
        if not callable(consumer) or (isinstance(consumer, type) and hasattr(consumer, "trigger_inbound")):
            # The second is a binding, whose consumer is a method of it.
            advice = f"use {consumer.__qualname__}.consumer" if callable(consumer) else "it cannot be called"
            what = f"{consumer!r} is not a consumer for the stream {stream!r} of {named(type(self))}"
            refuse(message, INTERNAL, TypeError(f"{what}: {advice}"))
        arguments = {**kwargs, "multiplexer": self.multiplexer_class(stream, message.reply_channel)}
        if not (isinstance(consumer, type) and issubclass(consumer, BaseConsumer) and hasattr(consumer, "send")):
            return consumer(message, **arguments)
        # On the instance, so that the class stays what it is where it is used without a demultiplexer.
        new: Callable[..., Any] = consumer.__new__  # Any: it is initialised below, and gets another send
        instance = new(consumer, message, **arguments)
        instance.send = self.send
        instance.__init__(message, **arguments)
        return outcome_of(instance)

    def __refuse(self, reason: str, content: Json) -> NoReturn:
        what = f"{named(type(self))} on {printable(self.path)} got {printable(content, 80)}"
        refuse(self.message, UNUSABLE, BadFrame(f"{what}: {reason}"))

    @classmethod
    def _channels_is_async(cls, channel: str) -> bool:
        return super()._channels_is_async(channel) or any(_is_async(one, channel) for one in cls.consumers.values())

    @classmethod
    def _channels_blocks(cls, name: str) -> bool:
        return True


def _is_async(consumer: Handler, channel: str) -> bool:
    if isinstance(consumer, type) and issubclass(consumer, BaseConsumer):
        return consumer._channels_is_async(channel)
    return iscoroutinefunction(consumer)
