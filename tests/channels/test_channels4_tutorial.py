"""The steps of ``docs/channels4-tutorial.md``: its consumers one after the other, each in this process."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import pytest
from django.test import override_settings

from channel_layer.redis import RedisChannelLayer
from channels.configured_layers import channel_layers
from channels.consumer import AsyncConsumer, SyncConsumer
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator

from .documents import DOCS, shown_files

PAGE = "channels4-tutorial.md"
FILES = shown_files(PAGE)
ECHO, SYNC, ASYNC, STATE = FILES["chat/consumers.py"]
SECONDS = 20.0

Enter = Callable[[str], Awaitable[WebsocketCommunicator]]


def part(text: str) -> str:
    """The example of the page that has these words, and is not a file."""
    blocks = re.findall(r"^```python\n((?!# \S+\.py\n).*?)^```$", (DOCS / PAGE).read_text(), re.MULTILINE | re.DOTALL)
    [found] = [block for block in blocks if text in block]
    return str(found)


@pytest.fixture(autouse=True)
def layer_in_memory() -> Iterator[None]:
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}):
        yield


def routed(consumers: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's routes to a version of its consumer."""
    for name, code in (("chat.consumers", consumers), ("chat.routing", FILES["chat/routing.py"][0])):
        monkeypatch.setitem(sys.modules, name, module := ModuleType(name))
        exec(code, module.__dict__)
    return URLRouter(module.websocket_urlpatterns)


@asynccontextmanager
async def chat(consumers: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Enter]:
    """A function that enters a room; everybody leaves at the end."""
    application, clients = routed(consumers, monkeypatch), []

    async def enter(room: str) -> WebsocketCommunicator:
        client = WebsocketCommunicator(application, f"/ws/rooms/{room}/")
        assert await client.connect(timeout=SECONDS) == (True, None)
        clients.append(client)
        return client

    yield enter
    for client in clients:
        assert await client.receive_nothing(timeout=0.01)
        await client.disconnect(timeout=SECONDS)


def test_the_first_consumer_answers_the_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        async with chat(ECHO, monkeypatch) as enter:
            ada, _ = await enter("kitchen"), await enter("kitchen")
            await ada.send_to(text_data="hello")
            assert await ada.receive_from(SECONDS) == "kitchen: hello"

    asyncio.run(steps())


@pytest.mark.parametrize(
    ("consumers", "kind", "said"),
    [
        pytest.param(SYNC, SyncConsumer, "hello", id="sync"),
        pytest.param(ASYNC, AsyncConsumer, "hello", id="async"),
        pytest.param(STATE, AsyncConsumer, "somebody: hello", id="state"),
    ],
)
def test_everybody_in_the_room_hears_what_is_said_there_and_from_anywhere(
    consumers: str, kind: type[Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps() -> None:
        async with chat(consumers, monkeypatch) as enter:
            ada, bob, _ = await enter("kitchen"), await enter("kitchen"), await enter("hall")
            await ada.send_to(text_data="hello")
            assert [await client.receive_from(SECONDS) for client in (ada, bob)] == [said, said]
            await asyncio.to_thread(exec, part("get_channel_layer"), {})
            assert [await client.receive_from(SECONDS) for client in (ada, bob)] == ["Dinner is ready."] * 2
            assert issubclass(sys.modules["chat.consumers"].ChatConsumer, kind)

    asyncio.run(steps())


def test_a_name_is_the_state_of_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        async with chat(STATE, monkeypatch) as enter:
            ada, bob = await enter("kitchen"), await enter("kitchen")
            await ada.send_to(text_data="/name Ada")
            for client, said in ((ada, "Ada: hello"), (bob, "somebody: hello")):
                await client.send_to(text_data="hello")
                assert [await one.receive_from(SECONDS) for one in (ada, bob)] == [said, said]

    asyncio.run(steps())


def test_the_entry_for_redis() -> None:
    with override_settings(CHANNEL_LAYERS=eval("{" + part("channels_redis") + "}")):
        layer = channel_layers.make_backend("default").channel_layer
        assert isinstance(layer, RedisChannelLayer)
        assert layer.describe().startswith("redis://localhost:6379")
