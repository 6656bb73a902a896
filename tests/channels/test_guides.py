"""The pages without a test file of their own: their examples do what they say."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone
from websockets.asyncio.server import ServerConnection, serve

from channel_layer.conformance import ConformanceSuite
from channel_layer.memory import MemoryChannelLayer
from channel_layer.redis import RedisChannelLayer
from channels.configured_layers import channel_layers
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.hosting.hosted import HostedApplication
from channels.hosting.scopes import websocket_scope
from channels.message import Message
from channels.signals import consumer_finished
from channels.test import WSClient
from channels.test.layers import IsolatedLayer, placed
from interface_server.application import Application
from interface_server.wsgi import WsgiInterface
from routing import route
from routing.router import ignore

from .documents import DOCS, run_examples
from .driving import Socket, working


@contextmanager
def served(layer: Any, page: str, **given: Any) -> Iterator[dict[str, Any]]:
    """A worker with the routing of a page's examples, which are given."""
    names = run_examples(page, "guide", **given)
    with working(layer, names["channel_routing"]):
        yield names


def test_consumers(layer: Any) -> None:
    with served(layer, "consumers.md") as names:
        kitchen = Socket(layer, "kitchen", path="/rooms/kitchen/")
        assert kitchen.connect() == [{"accept": True}]
        assert kitchen.say("hello") == [{"text": "hello"}]
        assert kitchen.say("x" * 1001) == [{"close": 4000}]
        assert Socket(layer, "cellar", path="/rooms/cellar/").connect() == [{"accept": False}]
        greeted = Socket(layer, "greeted", path="/greet/")
        assert greeted.connect() == [{"text": '{"hello": "you"}'}]
        assert greeted.say("bye") == [{"text": "Goodbye.", "close": True}]
        names["arrived"].add("picture")
        use = Socket(layer, "use")
        use.tell("uploads.use", id="picture")
        assert not use.failed


def test_consumers_ask_for_a_message_later(layer: Any) -> None:
    names = run_examples("consumers.md", "guide")
    with pytest.raises(names["ConsumeLater"]):
        names["use_upload"](Message({"id": "missing"}, "uploads.use", layer))


def test_routing(layer: Any) -> None:
    with served(layer, "routing.md") as names:
        assert names["CHANNEL_LAYERS"]["default"]["ROUTING"] == "project.routing.channel_routing"
        assert Socket(layer, path="/rooms/hall/").connect() == [{"text": "Welcome to hall."}]
        assert Socket(layer, path="/echo/").say("again") == [{"text": "again"}]
        assert Socket(layer, path="/polls/7/vote/tea/").say("") == [{"text": "7: tea"}]
        assert Socket(layer, path="/elsewhere/").connect() == [{"accept": False}]
        export = Socket(layer, path="/export.pdf")
        assert export.tell("http.request", method="GET") == [{"status": 200, "content": b"pdf"}]
        for channel in ("pictures.shrink", "pictures.again"):
            picture = Socket(layer)
            picture.tell(channel)
            assert not picture.failed


def test_groups(layer: Any) -> None:
    with served(layer, "groups.md") as names:
        socket = Socket(layer, path="/prices/bitcoin/")
        assert socket.connect() == [{"accept": True}]
        names["new_price"]("bitcoin", 100)
        assert socket.heard() == [{"text": "bitcoin 100"}]
        socket.say("litecoin")
        names["new_price"]("bitcoin", 101)
        names["new_price"]("litecoin", 7)
        assert socket.heard() == [{"text": "litecoin 7"}]


def test_concepts(layer: Any) -> None:
    names = run_examples("concepts.md", "guide", picture=SimpleNamespace(pk=7))
    assert layer.receive(["thumbnails.make"]) == ("thumbnails.make", {"picture": 7})
    names["connect"](Message({"reply_channel": "daphne.x!one"}, "websocket.connect", layer), "hall")
    assert layer.group_channels("chat-hall") == ["daphne.x!one"]
    assert layer.receive(["daphne.x!"]) == ("daphne.x!one", {"accept": True})


def test_what_a_chat_of_channels_4_becomes(layer: Any) -> None:
    with served(layer, "coming-from-channels-4.md"):
        one = Socket(layer, "one", path="/chat/hall/")
        assert one.connect() == [{"accept": True}]
        assert one.say("hello") == [{"text": "hello"}]


def test_a_consumer_that_hands_itself_over() -> None:
    played: list[int] = []

    class Played(AsyncWebsocketConsumer):
        position = 0

        async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
            self.position = int(text_data or 0)
            self.task = asyncio.create_task(self.play())

        async def play(self) -> None:
            played.append(self.position)
            await asyncio.sleep(3600)

    names = run_examples("channels4.md", "guide", AsyncWebsocketConsumer=Played, asyncio=asyncio)
    opening = {"path": "/stream/", "headers": []}

    async def lived(checkpoint: bytes | None, events: list[dict[str, Any]]) -> bytes | None:
        application = names["StreamConsumer"].as_asgi()
        hosted = HostedApplication(application, websocket_scope(opening, {}), "daphne.x!s", 0, 0, [], checkpoint)
        waiting = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if events:
                return events.pop(0)
            waiting.set()
            return await asyncio.Future()

        async def send(event: dict[str, Any]) -> None: ...

        task = asyncio.create_task(hosted.run(receive, send))
        await waiting.wait()
        await asyncio.sleep(0)
        left = await hosted.hand_over()
        task.cancel()
        await asyncio.wait([task])
        return left

    async def main() -> None:
        left = await lived(None, [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "7"}])
        await lived(left, [])

    asyncio.run(main())
    assert played == [7, 7]


def test_how_a_test_of_channels_4_is_written(layer: Any) -> None:
    page = DOCS / "coming-from-channels-4.md"
    rows = re.findall(r"^\| `[^|]*communicator[^|]*` \| `([^|]*)` \|$", page.read_text(), re.MULTILINE | re.IGNORECASE)
    assert len(rows) == 7
    routing = [*run_examples(page.name, "guide")["channel_routing"], route("websocket.disconnect", ignore)]
    with placed("default", IsolatedLayer(layer.channel_layer, "default", routing)):
        names: dict[str, Any] = {"WSClient": WSClient}
        for number, row in enumerate(rows):
            given = "answer = " if row.startswith("client.receive") else ""
            if row.endswith("receive()"):
                names["client"].send_and_consume("websocket.receive", text='{"a": 1}', path="/chat/kitchen/")
            exec(f"client = {row}" if number == 0 else given + row, names)
            if given:
                assert names["answer"] == ({"a": 1} if row.endswith("receive()") else "hello")


def test_telling_everybody_in_several_installations() -> None:
    installations = {alias: MemoryChannelLayer() for alias in ("default", "cell-2", "cell-3")}
    with ExitStack() as stack:
        for alias, layer in installations.items():
            stack.enter_context(placed(alias, IsolatedLayer(layer, alias, [])))
            layer.group_add("everybody", "somebody")
        run_examples("scaling.md", "guide")["tell_everybody"]("hello")
        assert [layer.receive(["somebody"]) for layer in installations.values()] == [
            ("somebody", {"text": "hello"})
        ] * 3


@pytest.mark.usefixtures("database")
def test_delayed_messages(layer: Any) -> None:
    from channels.delay.models import DelayedMessage

    order = SimpleNamespace(pk=7, pick_up_time=timezone.now() - timedelta(seconds=1))
    names = run_examples("delay.md", "guide", order=order, INSTALLED_APPS=[])
    assert names["INSTALLED_APPS"] == ["channels", "channels.delay"]
    quarter = 15 * 60 * 1000
    delayed = {"channel": "mail.remind", "content": {"order": 7}, "delay": quarter}
    assert layer.receive(["asgi.delay"]) == ("asgi.delay", delayed)
    [row] = DelayedMessage.objects.is_due()
    row.send()
    assert layer.receive(["mail.remind"]) == ("mail.remind", {"order": 7})


def test_signals(layer: Any) -> None:
    names = run_examples("reference/signals.md", "guide")
    try:
        with working(layer, [route("one", ignore)]):
            Socket(layer).tell("one")
        assert names["finished"] == ["one"]
    finally:
        consumer_finished.disconnect(names["count"])


def test_settings() -> None:
    names = run_examples("reference/settings.md", "guide")
    with override_settings(CHANNEL_LAYERS=names["CHANNEL_LAYERS"]):
        for layer in (channel_layers.make_backend("default"), channel_layers.make_test_backend("default")):
            assert isinstance(layer.channel_layer, RedisChannelLayer)


def test_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "a")
    monkeypatch.setenv("SENTINEL_PASSWORD", "b")
    monkeypatch.setenv("RABBITMQ_URL", "amqp://localhost:1/project")
    monkeypatch.setenv("RABBITMQ_PASSWORD", "c")
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / "layers.md").read_text(), re.MULTILINE | re.DOTALL)
    described = []
    for block in blocks:
        names: dict[str, Any] = {}
        exec(block, names)
        if names["CHANNEL_LAYERS"]["default"]["CONFIG"].pop("database", None):  # the tests' own is none of PostgreSQL
            names["CHANNEL_LAYERS"]["default"]["CONFIG"]["dsn"] = "postgresql://localhost:1/project"
        with override_settings(CHANNEL_LAYERS=names["CHANNEL_LAYERS"]):
            layer = channel_layers.make_backend("default")
            described.append(layer.describe().partition(" ")[0])
            layer.close()
    assert described == [
        "PostgreSQL",
        "RabbitMQ",
        "RabbitMQ",
        "redis+sentinel://mymaster/0",
        "redis+cluster://node-1:6379",
    ]


def test_writing_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS / "examples")
    names = run_examples("writing-a-layer.md", "guide")
    assert issubclass(names["TestFileLayer"], ConformanceSuite)
    with override_settings(CHANNEL_LAYERS=names["CHANNEL_LAYERS"]):
        layer = channel_layers.make_backend("default")
        assert layer.describe() == "file /dev/shm/project-layer"
        assert layer.capacity.default == 1000


@pytest.mark.usefixtures("layer")
def test_a_wsgi_server() -> None:
    application = run_examples("wsgi.md", "guide")["application"]
    assert isinstance(application, WsgiInterface)
    application.close()


@pytest.mark.usefixtures("layer")
def test_deploying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "rediss://localhost:1/0")
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost:1/project")
    monkeypatch.setenv("CHANNELS_KEY", "a key")
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / "deploying.md").read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"os": os}
    layers: list[dict[str, Any]] = []
    for block in blocks:
        if block.startswith('"CONFIG"'):
            config = eval("{" + block + "}", names)["CONFIG"]
            layers.append(names["CHANNEL_LAYERS"]["default"] | {"BACKEND": backend_of(config), "CONFIG": config})
        else:
            exec(block, names)
            layers += names.get("CHANNEL_LAYERS", {}).values()
    assert isinstance(names["application"], Application)
    described = set()
    for layer in layers:
        with override_settings(CHANNEL_LAYERS={"default": layer}):
            described.add(channel_layers.make_backend("default").describe().partition(" ")[0])
    assert described == {"rediss://localhost:1/0", "sqlite", "PostgreSQL"}


def backend_of(config: dict[str, Any]) -> str:
    """The layer that the options are for."""
    if "path" in config:
        return "channel_layer.sqlite.SqliteChannelLayer"
    return "channel_layer.postgres.PostgresChannelLayer" if "dsn" in config else "channel_layer.redis.RedisChannelLayer"


def test_the_load_test_runs_as_it_stands() -> None:
    names = run_examples("sizing.md", "guide")

    async def answer(socket: ServerConnection) -> None:
        async for text in socket:
            await socket.send(text)

    async def run() -> Any:
        async with serve(answer, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            return await names["load"](f"ws://127.0.0.1:{port}/", 3, 0.1, 0.01)

    assert len(asyncio.run(run())) >= 3
