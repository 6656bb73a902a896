"""Consumers of the studies: an echo of any message."""

from __future__ import annotations

from channels.generic.websocket import AsyncWebsocketConsumer


class BytesConsumer(AsyncWebsocketConsumer):
    """Sends a binary frame back."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send it back."""
        await self.send(bytes_data=bytes_data)
