"""The application itself: its beginning, its end, and what it does not serve."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.sync.client import connect

from channel_layer.memory import MemoryChannelLayer
from interface_server.application import Application
from interface_server.options import Options
from tests.interface_server.hosted import hosted


def test_stopping_the_server_tells_consumers_of_every_socket() -> None:
    with hosted() as host, connect(host.url()) as client:
        client.send("x")
        client.recv(timeout=20)
        host.server.should_exit = True
        host.workers.wait_for("websocket.disconnect")


def test_it_begins_with_the_first_connection_if_there_is_no_lifespan() -> None:
    layer = MemoryChannelLayer()

    async def run() -> list[dict[str, Any]]:
        application = Application(layer, Options(http_timeout=0.2))
        sent: list[dict[str, Any]] = []
        received = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> dict[str, Any]:
            event = next(received, None)
            if event is None:
                await asyncio.sleep(60)
            return event  # type: ignore[return-value]

        async def send(event: dict[str, Any]) -> None:
            sent.append(event)

        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
        await application(scope, receive, send)
        await application.shutdown()
        return sent

    sent = asyncio.run(run())
    assert sent[0]["status"] == 504


def test_a_connection_of_another_type_is_one_sentence() -> None:
    async def run() -> None:
        await Application(MemoryChannelLayer())({"type": "carrier pigeon"}, None, None)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="no ASGI connection of type 'carrier pigeon' is served here"):
        asyncio.run(run())
