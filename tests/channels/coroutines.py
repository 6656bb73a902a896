"""A channel layer with coroutines in one event loop, and consumers driven over it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any


class LoopLayer:
    """The part of a layer of Channels 4 that consumers use."""

    def __init__(self) -> None:
        self.queues: defaultdict[str, asyncio.Queue[Any]] = defaultdict(asyncio.Queue)
        self.groups: defaultdict[str, set[str]] = defaultdict(set)
        self.named = 0

    async def new_channel(self, prefix: str = "specific.") -> str:
        self.named += 1
        return f"{prefix}!{self.named}"

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        self.queues[channel].put_nowait(message)

    async def receive(self, channel: str) -> dict[str, Any]:
        return await self.queues[channel].get()

    async def group_add(self, group: str, channel: str) -> None:
        self.groups[group].add(channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self.groups[group].discard(channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        for channel in self.groups[group]:
            await self.send(channel, message)


class Client:
    """A server for one application: what goes in is a list, what came out another."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        for event in events:
            self.events.put_nowait(event)

    async def receive(self) -> dict[str, Any]:
        event: dict[str, Any] = await self.events.get()
        return event

    async def send(self, event: dict[str, Any]) -> None:
        self.sent.append(event)


def drive(application: Any, *events: dict[str, Any], **scope: Any) -> list[dict[str, Any]]:
    """Run an application until it ends, and return what it sent."""

    async def run() -> list[dict[str, Any]]:
        client = Client(*events)
        async with asyncio.timeout(20):
            await application({"type": "websocket", "path": "/", "headers": [], **scope}, client.receive, client.send)
        return client.sent

    return asyncio.run(run())
