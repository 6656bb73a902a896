"""Several streams over one WebSocket: frames are ``{"stream": name, "payload": {...}}``."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.serializers.json import DjangoJSONEncoder

from channel_layer.channel import Channel, Group

from ..exceptions import SendNotAvailableOnDemultiplexer
from ..log import printable
from .base import BaseConsumer, outcome_of
from .json_text import JsonWebsocketConsumer
from .refusing import UNUSABLE, BadFrame, refuse


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

    def send(self, payload: Any) -> None:
        """Send a payload to the client."""
        self.reply_channel.send(self.encode(self.stream, payload))

    @classmethod
    def encode_json(cls, content: Any) -> str:
        """From content to text; dates, decimals and UUIDs are written as Django writes them."""
        return json.dumps(content, cls=DjangoJSONEncoder)

    @classmethod
    def encode(cls, stream: str, payload: Any) -> dict[str, Any]:
        """The message that carries a payload on a stream."""
        return {"text": cls.encode_json({"stream": stream, "payload": payload})}

    @classmethod
    def group_send(cls, name: str, stream: str, payload: Any, close: bool = False) -> None:
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

    consumers: Mapping[str, Callable[..., Any]] = {}
    multiplexer_class: ClassVar[type[WebsocketMultiplexer]] = WebsocketMultiplexer

    def receive(self, content: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Give a frame to the consumer of its stream."""
        if not isinstance(content, dict) or "stream" not in content or "payload" not in content:
            self._refuse('a dict with "stream" and "payload" is expected', content)
        payload = content["payload"]
        if not isinstance(payload, dict):
            self._refuse("the payload must be a dict", content)
        for stream, consumer in self.consumers.items():
            if stream == content["stream"]:
                return self._forward_payload(stream, consumer, payload, kwargs)
        known = ", ".join(repr(stream) for stream in self.consumers)
        self._refuse(f"there is no such stream; 'consumers' has {known or 'none'}", content)

    def connect(self, message: Any, **kwargs: Any) -> Any:
        """Accept, then connect every consumer."""
        self.message.reply_channel.send({"accept": True})
        return self._forward_to_all(message, kwargs)

    def disconnect(self, message: Any, **kwargs: Any) -> Any:
        """Disconnect every consumer."""
        return self._forward_to_all(message, kwargs)

    def send(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises `SendNotAvailableOnDemultiplexer`."""
        raise SendNotAvailableOnDemultiplexer(
            "send() would send a frame without a stream; use send() of the keyword argument 'multiplexer'"
        )

    @classmethod
    def group_send(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises `SendNotAvailableOnDemultiplexer`."""
        raise SendNotAvailableOnDemultiplexer(
            "group_send() would send a frame without a stream; use WebsocketMultiplexer.group_send()"
        )

    def _forward_payload(self, stream: str, consumer: Any, payload: Any, kwargs: dict[str, Any]) -> Any:
        text = self.encode_json(payload)
        with self._text_is(text):
            result = self._forward(stream, consumer, self.message, kwargs)
        return self._with_text(text, result) if inspect.isawaitable(result) else None

    async def _with_text(self, text: str, result: Awaitable[Any]) -> None:
        with self._text_is(text):
            await result

    @contextmanager
    def _text_is(self, text: str) -> Iterator[None]:
        """Have a payload in the message; a consumer that asks for it later gets the whole frame again."""
        frame = self.message.content["text"]
        self.message.content["text"] = text
        try:
            yield
        finally:
            self.message.content["text"] = frame

    def _forward_to_all(self, message: Any, kwargs: dict[str, Any]) -> Any:
        if self._is_async(message.channel.name):
            return self._aforward_to_all(message, kwargs)
        for stream, consumer in self.consumers.items():
            self._forward(stream, consumer, message, kwargs)
        return None

    async def _aforward_to_all(self, message: Any, kwargs: dict[str, Any]) -> None:
        for stream, consumer in self.consumers.items():
            result = await sync_to_async(self._forward)(stream, consumer, message, kwargs)
            if inspect.isawaitable(result):
                await result

    def _forward(self, stream: str, consumer: Any, message: Any, kwargs: dict[str, Any]) -> Any:
        arguments = {**kwargs, "multiplexer": self.multiplexer_class(stream, message.reply_channel)}
        if not (isinstance(consumer, type) and issubclass(consumer, BaseConsumer) and hasattr(consumer, "send")):
            return consumer(message, **arguments)
        # On the instance, so that the class stays what it is where it is used without a demultiplexer.
        new: Callable[..., Any] = consumer.__new__
        instance = new(consumer, message, **arguments)
        instance.send = self.send
        instance.__init__(message, **arguments)
        return outcome_of(instance)

    def _refuse(self, reason: str, content: Any) -> NoReturn:
        who, path = f"{type(self).__module__}.{type(self).__qualname__}", printable(self.path)
        refuse(self.message, UNUSABLE, BadFrame(f"{who} on {path} got {printable(content, 80)}: {reason}"))

    @classmethod
    def _is_async(cls, channel: str) -> bool:
        return super()._is_async(channel) or any(_is_async(one, channel) for one in cls.consumers.values())

    @classmethod
    def _blocks(cls, name: str) -> bool:
        return True


def _is_async(consumer: Any, channel: str) -> bool:
    if isinstance(consumer, type) and issubclass(consumer, BaseConsumer):
        return consumer._is_async(channel)
    return iscoroutinefunction(consumer)
