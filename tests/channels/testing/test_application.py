"""`channels.testing.application`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.testing import ApplicationCommunicator


async def echo(scope: Any, receive: Any, send: Any) -> None:
    while (event := await receive())["type"] != "stop":
        if event["type"] == "fail":
            raise RuntimeError("mine")
        await send({**event, "scope": scope["type"]})


def test_events_go_in_and_come_out() -> None:
    async def run() -> None:
        communicator = ApplicationCommunicator(echo, {"type": "test"})
        await communicator.send_input({"type": "hello"})
        assert await communicator.receive_output() == {"type": "hello", "scope": "test"}
        assert await communicator.receive_nothing(timeout=0.02)
        await communicator.send_input({"type": "hello"})
        assert not await communicator.receive_nothing(timeout=20)
        await communicator.send_input({"type": "stop"})
        await communicator.wait(timeout=20)

    asyncio.run(run())


def test_what_the_application_raises_comes_out() -> None:
    async def run() -> None:
        communicator = ApplicationCommunicator(echo, {"type": "test"})
        await communicator.send_input({"type": "fail"})
        with pytest.raises(RuntimeError, match="mine"):
            await communicator.wait(timeout=20)

    asyncio.run(run())


def test_one_that_sends_nothing_is_cancelled() -> None:
    async def run() -> None:
        communicator = ApplicationCommunicator(echo, {"type": "test"})
        with pytest.raises(TimeoutError):
            await communicator.receive_output(timeout=0.02)
        assert communicator.future.cancelled()

    asyncio.run(run())


def test_a_consumer_class_is_taken_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match=r"write AsyncWebsocketConsumer\.as_asgi\(\)"):
        ApplicationCommunicator(AsyncWebsocketConsumer, {"type": "websocket"})
