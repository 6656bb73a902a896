"""The application itself: its beginning, its end, and what it does not serve."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from websockets.sync.client import connect

from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable, LayerUnusable
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


class Checked(MemoryChannelLayer):
    """Says what a test has it say when it is reached for."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self._failure = failure

    def check(self) -> None:
        raise self._failure


def lifespan_of(application: Application) -> list[dict[str, Any]]:
    async def run() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        received = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> dict[str, Any]:
            return next(received)

        async def send(event: dict[str, Any]) -> None:
            sent.append(event)

        await application({"type": "lifespan"}, receive, send)
        return sent

    return asyncio.run(run())


@pytest.mark.parametrize("kind", [LayerConfigurationError, partial(LayerUnusable, "here")])
def test_a_layer_that_cannot_be_used_fails_the_lifespan_with_a_sentence(kind: Any) -> None:
    sentence = "Redis at here has no such database. Give a lower number."
    assert lifespan_of(Application(Checked(kind(sentence)))) == [
        {"type": "lifespan.startup.failed", "message": sentence}
    ]


def test_a_layer_that_is_away_is_a_warning_at_the_start_of_the_lifespan(caplog: pytest.LogCaptureFixture) -> None:
    sent = lifespan_of(Application(Checked(LayerUnavailable("here", "connection refused"))))
    assert [event["type"] for event in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert "connection refused; starting anyway" in caplog.text


def test_a_connection_of_another_type_is_one_sentence() -> None:
    async def run() -> None:
        await Application(MemoryChannelLayer())({"type": "carrier pigeon"}, None, None)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="no ASGI connection of type 'carrier pigeon' is served here"):
        asyncio.run(run())
