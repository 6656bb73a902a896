"""An echo, and a group of all sockets, as asynchronous consumers: the fastest kind there."""

from __future__ import annotations

from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer


class EchoConsumer(AsyncWebsocketConsumer):
    """Sends a frame back."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send it back."""
        await self.send(text_data=text_data)


class GroupConsumer(AsyncWebsocketConsumer):
    """Enters the group, then accepts."""

    groups = ["all"]

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send what came to everybody in the group."""
        await self.channel_layer.group_send("all", {"type": "group.message", "text": text_data})

    async def group_message(self, event: dict[str, Any]) -> None:
        """Pass a message of the group on to this socket."""
        await self.send(text_data=event["text"])
