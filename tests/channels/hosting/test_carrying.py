from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from django.urls import path

from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.hosting.carrying import bound_attributes, check_application, consumer_classes
from channels.middleware import BaseMiddleware
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import OriginValidator


class Plain(WebsocketConsumer):
    def connect(self) -> None:
        self.names: list[str] = []


class Game(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        self.lock: asyncio.Lock = asyncio.Lock()
        self.reader, _ = await asyncio.open_connection("localhost", 1)
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.task = asyncio.create_task(self.play())

    async def play(self) -> None: ...


class Handing(Game):
    async def handover(self) -> None: ...

    async def resumed(self, state: Any) -> None: ...


application = ProtocolTypeRouter({
    "websocket": OriginValidator(
        BaseMiddleware(URLRouter([path("a/", Plain.as_asgi()), path("b/", URLRouter([path("c/", Game.as_asgi())]))])),
        ["*"],
    ),
    "http": Handing.as_asgi(),
})  # fmt: skip


def test_consumers_are_found_through_routers_and_middleware() -> None:
    assert set(consumer_classes(application)) == {Plain, Game}
    assert consumer_classes(None) == []


def test_what_belongs_to_the_process_is_found_with_its_line() -> None:
    assert bound_attributes(Plain) == []
    found = {attribute.name: attribute for attribute in bound_attributes(Game)}
    assert {name: attribute.call for name, attribute in found.items()} == {
        "lock": "asyncio.Lock",
        "task": "asyncio.create_task",
    }
    lines = Path(__file__).read_text().splitlines()
    assert "self.lock:" in lines[found["lock"].line - 1]


def test_the_check_names_attribute_class_and_cure() -> None:
    with override_settings(ASGI_APPLICATION=f"{__name__}.application"):
        found = check_application()
    assert [(message.id, message.msg.split()[0]) for message in found] == [
        ("channels.W007", "self.lock"),
        ("channels.W007", "self.task"),
    ]
    assert "Game" in str(found[0].obj)
    assert "handover()" in str(found[0].hint)


@pytest.mark.parametrize(
    ("path", "words"), [("nowhere.application", "cannot be imported"), ("os.sep", "it cannot be called")]
)
def test_an_application_that_is_none_is_an_error(path: str, words: str) -> None:
    with override_settings(ASGI_APPLICATION=path):
        (error,) = check_application()
    assert error.id == "channels.E005"
    assert words in error.msg


def test_without_an_application_there_is_nothing_to_say() -> None:
    with override_settings(ASGI_APPLICATION=None):
        assert check_application() == []
