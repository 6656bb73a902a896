"""Consumers as classes, asynchronous because that is the fastest kind there, one in threads, and their application."""

from __future__ import annotations

from typing import Any

from django.core.asgi import get_asgi_application
from django.urls import path

from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter


class EchoConsumer(AsyncWebsocketConsumer):
    """Sends a frame back."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send it back."""
        await self.send(text_data=text_data, bytes_data=bytes_data)


class SyncEchoConsumer(WebsocketConsumer):
    """Sends a frame back, from a thread."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send it back."""
        self.send(text_data=text_data)


class GroupConsumer(AsyncWebsocketConsumer):
    """Enters the group, then accepts."""

    groups = ["all"]

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send what came to everybody in the group."""
        await self.channel_layer.group_send("all", {"type": "group.message", "text": text_data})

    async def group_message(self, event: dict[str, Any]) -> None:
        """Pass a message of the group on to this socket."""
        await self.send(text_data=event["text"])


application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter(
            [
                path("echo/", EchoConsumer.as_asgi()),
                path("sync/", SyncEchoConsumer.as_asgi()),
                path("group/", GroupConsumer.as_asgi()),
                path("bytes/", EchoConsumer.as_asgi()),
            ]
        ),
    }
)
