"""`channels.scope.application_worker`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from channels.consumer import AsyncConsumer
from channels.routing import ChannelNameRouter
from channels.scope.application_worker import ApplicationWorker

from ..coroutines import LoopLayer

pytestmark = pytest.mark.usefixtures("no_layer")


class Thumbnails(AsyncConsumer):
    """Passes on what it was asked for, with what it was asked before."""

    def __init__(self, made: asyncio.Queue[Any]) -> None:
        self.before: list[int] = []
        self.made = made

    async def make(self, event: dict[str, Any]) -> None:
        self.made.put_nowait((self.scope["channel"], self.before.copy(), event["number"]))
        self.before.append(event["number"])


def test_each_channel_has_an_instance_that_lasts() -> None:
    async def run() -> list[Any]:
        layer, made = LoopLayer(), asyncio.Queue[Any]()
        router = ChannelNameRouter(dict.fromkeys(["large", "small"], Thumbnails.as_asgi(made=made)))
        working = asyncio.ensure_future(ApplicationWorker(router, ("large", "small"), layer).arun())
        results = []
        for channel, number in (("large", 1), ("small", 2), ("large", 3)):
            await layer.send(channel, {"type": "make", "number": number})
            results.append(await asyncio.wait_for(made.get(), 20))
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return results

    assert asyncio.run(run()) == [("large", [], 1), ("small", [], 2), ("large", [1], 3)]


def test_a_message_has_a_type() -> None:
    async def run() -> None:
        layer = LoopLayer()
        await layer.send("large", {"number": 1})
        await ApplicationWorker(ChannelNameRouter({}), ["large"], layer).handle()

    with pytest.raises(ValueError, match="no type on 'large'; send a dict with 'type'"):
        asyncio.run(run())


def test_nobody_waits_for_an_answer() -> None:
    worker = ApplicationWorker(ChannelNameRouter({}), [], LoopLayer())
    with pytest.raises(ValueError, match=r"channel 'large' sent 'websocket\.send', and has no client"):
        asyncio.run(worker.application_send({"channel": "large"}, {"type": "websocket.send"}))


def test_it_needs_a_layer() -> None:
    with pytest.raises(ValueError, match="Channel layer is not valid"):
        ApplicationWorker(ChannelNameRouter({}), ["large"], None)
