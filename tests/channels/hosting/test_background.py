"""Consumers behind a channel, run by workers: one instance, one message at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from channel_layer.channel import Message
from channel_layer.memory import MemoryChannelLayer
from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer
from channels.hosting.background import BackgroundConsumer, background_channels
from channels.middleware import BaseMiddleware
from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from workers.exceptions import ConsumeLater

pytestmark = pytest.mark.usefixtures("no_layer")


class Thumbnails(AsyncConsumer):
    log: list[Any] = []
    gate: asyncio.Event
    waits: asyncio.Event

    made = 0

    async def make(self, event: dict[str, Any]) -> None:
        self.log.append(("begin", event["n"]))
        await asyncio.sleep(0)
        self.made += 1
        self.log.append(("end", event["n"], self.made, self.scope["channel"]))

    async def wait(self, event: dict[str, Any]) -> None:
        self.waits.set()
        await self.gate.wait()

    async def fail(self, event: dict[str, Any]) -> None:
        raise RuntimeError("no picture")

    async def stop(self, event: dict[str, Any]) -> None:
        raise StopConsumer

    async def answer(self, event: dict[str, Any]) -> None:
        await self.send({"type": "websocket.send", "text": "hello"})


@pytest.fixture(autouse=True)
def log() -> list[Any]:
    Thumbnails.log.clear()
    return Thumbnails.log


def message(kind: str, n: int = 0) -> Message:
    return Message({"type": kind, "n": n}, "thumbnails", MemoryChannelLayer())


def consumer() -> BackgroundConsumer:
    router = ChannelNameRouter({"thumbnails": Thumbnails.as_asgi()})
    return BackgroundConsumer(ProtocolTypeRouter({"channel": router}), "thumbnails")


def run(work: Awaitable[Any]) -> None:
    async def within_time() -> None:
        await asyncio.wait_for(work, 20)

    asyncio.run(within_time())


def test_one_instance_deals_with_one_message_at_a_time_in_their_order(log: list[Any]) -> None:
    async def work() -> None:
        found = consumer()
        await asyncio.gather(*(found(message("make", n)) for n in (1, 2, 3)))

    run(work())
    assert log == [
        entry for n in (1, 2, 3) for entry in (("begin", n), ("end", n, n, "thumbnails"))
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["fail", "stop", "answer", "unknown"])
def test_an_instance_that_ends_makes_room_for_another_and_its_error_is_the_messages(kind: str, log: list[Any]) -> None:
    async def work() -> None:
        found = consumer()
        await found(message("make", 1))
        if kind == "stop":
            await found(message(kind))
        else:
            with pytest.raises((RuntimeError, ValueError), match=r"no picture|has no client|No handler for"):
                await found(message(kind))
        await found(message("make", 2))

    run(work())
    assert log[-1] == ("end", 2, 1, "thumbnails")


def test_what_waits_when_the_worker_stops_is_given_back_and_what_is_at_work_is_cancelled(log: list[Any]) -> None:
    async def work() -> None:
        Thumbnails.gate, Thumbnails.waits = asyncio.Event(), asyncio.Event()
        found = consumer()
        first, second = (asyncio.create_task(found(message(kind))) for kind in ("wait", "make"))
        await Thumbnails.waits.wait()
        second.cancel()
        with pytest.raises(ConsumeLater):
            await second
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await found(message("make", 3))

    run(work())
    assert log == [("begin", 3), ("end", 3, 1, "thumbnails")]


def test_each_event_loop_has_an_instance(log: list[Any]) -> None:
    found = consumer()
    for n in (1, 2):
        run(found(message("make", n)))
    assert [entry[2] for entry in log if entry[0] == "end"] == [1, 1]


def test_the_channels_are_found_through_middleware() -> None:
    router = ChannelNameRouter({"a": Thumbnails.as_asgi(), "b": Thumbnails.as_asgi()})
    for inner in (router, BaseMiddleware(router), BaseMiddleware(BaseMiddleware(router))):
        assert background_channels(ProtocolTypeRouter({"channel": inner})) == ["a", "b"]
    assert background_channels(ProtocolTypeRouter({"channel": Thumbnails.as_asgi()})) is None
    assert background_channels(ProtocolTypeRouter({"http": router})) == []
    assert background_channels(Thumbnails.as_asgi()) == []
