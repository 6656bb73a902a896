"""A worker that feeds an ASGI application in this process, as that of Channels 2 to 4 does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from asgiref.server import StatelessServer

from .applications import Event, Scope, refuse_answer, single_callable


class ApplicationWorker(StatelessServer):
    """Gives the messages on some channels to an ASGI application, each channel to an instance of its own.

    Args:
        application: gets scopes of type ``"channel"``.
        channels: names of the channels.
        channel_layer: a layer with coroutines, see ``channels.layers``.
        max_applications: how many instances there may be; the one unused for longest makes room.

    Raises:
        ValueError: there is no layer.
    """

    def __init__(
        self, application: Any, channels: Iterable[str], channel_layer: Any, max_applications: int = 1000
    ) -> None:
        if channel_layer is None:
            raise ValueError("Channel layer is not valid: a worker needs one; CHANNEL_LAYERS has none of this alias")
        super().__init__(single_callable(application), max_applications)  # type: ignore[no-untyped-call]
        self.channels = list(channels)
        self.channel_layer = channel_layer

    async def handle(self) -> None:
        """Listen on all channels, until listening on one of them fails."""
        await asyncio.gather(*(self.listener(channel) for channel in self.channels))

    async def listener(self, channel: str) -> None:
        """Pass on what comes on one channel.

        Raises:
            ValueError: a message has no type.
        """
        while True:
            message = await self.channel_layer.receive(channel)
            if not message.get("type"):
                raise ValueError(f"Worker received message with no type on {channel!r}; send a dict with 'type'")
            scope = {"type": "channel", "channel": channel}
            queue = self.get_or_create_application_instance(channel, scope)  # type: ignore[no-untyped-call]
            await queue.put(message)

    async def application_send(self, scope: Scope, message: Event) -> None:
        """Refuse: behind a channel nobody waits for an answer.

        Raises:
            ValueError: always.
        """
        refuse_answer(scope["channel"], message)
