"""Consumers of WebSockets as in Channels 2 to 4: one instance for each connection.

Those of Channels 1 are in `channels.generic.websockets`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync

from channels.consumer import AsyncConsumer, SyncConsumer
from channels.exceptions import AcceptConnection, DenyConnection, InvalidChannelLayerError, StopConsumer
from channels.scope.applications import Event

if TYPE_CHECKING:
    from .applying import Captured
    from .json_text import Json

__all__ = [
    "AsyncJsonWebsocketConsumer",
    "AsyncWebsocketConsumer",
    "JsonWebsocketConsumer",
    "WebsocketConsumer",
]

Headers = Iterable[tuple[bytes, bytes]]

NO_CODE = 1005
"""The close code for a close frame without one (RFC 6455, 7.1.5)."""


class WebsocketConsumer(SyncConsumer):
    """Handles a WebSocket with plain methods, in a thread.

    Attributes:
        groups: names of groups to be in while the connection lasts.
    """

    groups: Any = None

    def __init__(self, *args: object, **kwargs: object) -> None:
        if self.groups is None:
            self.groups = []

    def websocket_connect(self, message: Event) -> None:
        """Join the groups and call `connect`.

        Raises:
            InvalidChannelLayerError: there are groups, and no layer that has any.
        """
        for group in _groups(self):
            async_to_sync(self.channel_layer.group_add)(group, self.channel_name)
        try:
            self.connect()
        except AcceptConnection:
            self.accept()
        except DenyConnection:
            self.close()

    def connect(self) -> None:
        """Accept the connection. To be overridden: call `accept` or `close`."""
        self.accept()

    def accept(self, subprotocol: str | None = None, headers: Headers | None = None) -> None:
        """Accept the connection.

        Args:
            subprotocol: the one to speak, of those in ``scope["subprotocols"]``.
            headers: pairs of bytes to send along.
        """
        super().send(_accept(subprotocol, headers))

    def websocket_receive(self, message: Event) -> None:
        """Call `receive` with what the frame holds."""
        self.receive(**_received(message))

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Handle a frame. To be overridden; one of the two is ``None``."""

    def send(  # type: ignore[override]  # Channels 4 gave one name two meanings
        self, text_data: str | None = None, bytes_data: bytes | None = None, close: bool | int = False
    ) -> None:
        """Send a frame.

        Args:
            text_data, bytes_data: what it holds, one of them.
            close: close the connection afterwards; a number is the code to close it with.

        Raises:
            ValueError: there is nothing to send.
        """
        super().send(_frame(text_data, bytes_data))
        if close:
            self.close(close)

    def close(self, code: int | bool | None = None, reason: str | None = None) -> None:
        """Close the connection; before it is accepted, this rejects it with HTTP 403.

        Args:
            code: of the close frame; 1000 if it is left out.
            reason: what the client is told with it.
        """
        super().send(_close(code, reason))

    def websocket_disconnect(self, message: Event) -> None:
        """Leave the groups, call `disconnect` and end."""
        for group in _groups(self):
            async_to_sync(self.channel_layer.group_discard)(group, self.channel_name)
        self.disconnect(message.get("code", NO_CODE))
        raise StopConsumer

    def disconnect(self, code: int) -> None:
        """Clean up. To be overridden; the connection is closed."""


class JsonWebsocketConsumer(WebsocketConsumer):
    """Handles a WebSocket whose frames are JSON."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Captured) -> None:
        """Decode a frame and call `receive_json`; raises `ValueError` for one without text."""
        self.receive_json(self.decode_json(_text(text_data)), **kwargs)

    def receive_json(self, content: Json, **kwargs: Captured) -> None:
        """Handle what a frame holds. To be overridden."""

    def send_json(self, content: Json, close: bool | int = False) -> None:
        """Send a value as JSON; see `WebsocketConsumer.send`."""
        super().send(text_data=self.encode_json(content), close=close)

    @classmethod
    def decode_json(cls, text_data: str) -> Json:
        """Return the value of a text."""
        return json.loads(text_data)

    @classmethod
    def encode_json(cls, content: Json) -> str:
        """Return the text for a value."""
        return json.dumps(content)


class AsyncWebsocketConsumer(AsyncConsumer):
    """Handles a WebSocket with coroutines.

    Attributes:
        groups: names of groups to be in while the connection lasts.
    """

    groups: Any = None

    def __init__(self, *args: object, **kwargs: object) -> None:
        if self.groups is None:
            self.groups = []

    async def websocket_connect(self, message: Event) -> None:
        """See `WebsocketConsumer.websocket_connect`."""
        for group in _groups(self):
            await self.channel_layer.group_add(group, self.channel_name)
        try:
            await self.connect()
        except AcceptConnection:
            await self.accept()
        except DenyConnection:
            await self.close()

    async def connect(self) -> None:
        """Accept the connection. To be overridden: call `accept` or `close`."""
        await self.accept()

    async def accept(self, subprotocol: str | None = None, headers: Headers | None = None) -> None:
        """See `WebsocketConsumer.accept`."""
        await super().send(_accept(subprotocol, headers))

    async def websocket_receive(self, message: Event) -> None:
        """Call `receive` with what the frame holds."""
        await self.receive(**_received(message))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Handle a frame. To be overridden; one of the two is ``None``."""

    async def send(  # type: ignore[override]  # Channels 4 gave one name two meanings
        self, text_data: str | None = None, bytes_data: bytes | None = None, close: bool | int = False
    ) -> None:
        """See `WebsocketConsumer.send`."""
        await super().send(_frame(text_data, bytes_data))
        if close:
            await self.close(close)

    async def close(self, code: int | bool | None = None, reason: str | None = None) -> None:
        """See `WebsocketConsumer.close`."""
        await super().send(_close(code, reason))

    async def websocket_disconnect(self, message: Event) -> None:
        """See `WebsocketConsumer.websocket_disconnect`."""
        for group in _groups(self):
            await self.channel_layer.group_discard(group, self.channel_name)
        await self.disconnect(message.get("code", NO_CODE))
        raise StopConsumer

    async def disconnect(self, code: int) -> None:
        """Clean up. To be overridden; the connection is closed."""


class AsyncJsonWebsocketConsumer(AsyncWebsocketConsumer):
    """Handles a WebSocket whose frames are JSON with coroutines."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Captured) -> None:
        """Decode a frame and call `receive_json`; raises `ValueError` for one without text."""
        await self.receive_json(await self.decode_json(_text(text_data)), **kwargs)

    async def receive_json(self, content: Json, **kwargs: Captured) -> None:
        """Handle what a frame holds. To be overridden."""

    async def send_json(self, content: Json, close: bool | int = False) -> None:
        """Send a value as JSON; see `WebsocketConsumer.send`."""
        await super().send(text_data=await self.encode_json(content), close=close)

    @classmethod
    async def decode_json(cls, text_data: str) -> Json:
        """Return the value of a text."""
        return json.loads(text_data)

    @classmethod
    async def encode_json(cls, content: Json) -> str:
        """Return the text for a value."""
        return json.dumps(content)


def _groups(consumer: WebsocketConsumer | AsyncWebsocketConsumer) -> list[str]:
    """The groups of a consumer, which its layer has to be able to carry."""
    groups = list(consumer.groups or ())
    if groups and not hasattr(consumer.channel_layer, "group_add"):
        layer = f"CHANNEL_LAYERS[{consumer.channel_layer_alias!r}]"
        lacks = "is missing" if consumer.channel_layer is None else "has a BACKEND without groups"
        raise InvalidChannelLayerError(
            None, f"{type(consumer).__name__}.groups needs a channel layer with groups, and {layer} {lacks}"
        )
    return groups


def _accept(subprotocol: str | None, headers: Headers | None) -> Event:
    event: Event = {"type": "websocket.accept", "subprotocol": subprotocol}
    if headers:
        event["headers"] = list(headers)
    return event


def _received(message: Event) -> Event:
    """The argument of `receive` for an event."""
    text = message.get("text")
    return {"bytes_data": message.get("bytes")} if text is None else {"text_data": text}


def _text(text_data: str | None) -> str:
    if not text_data:
        raise ValueError("No text section for incoming WebSocket frame!")
    return text_data


def _frame(text_data: str | None, bytes_data: bytes | None) -> Event:
    if text_data is not None:
        return {"type": "websocket.send", "text": text_data}
    if bytes_data is not None:
        return {"type": "websocket.send", "bytes": bytes_data}
    raise ValueError("You must pass one of bytes_data or text_data")


def _close(code: int | bool | None, reason: str | None) -> Event:
    event: Event = {"type": "websocket.close"}
    if code is not None and code is not True:
        event["code"] = code
    if reason:
        event["reason"] = reason
    return event
