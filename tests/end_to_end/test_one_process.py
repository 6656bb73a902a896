"""A web server and a worker in one process share a layer, as under ``runserver``: two event loops, one object."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from channel_layer.channel import Channel, Group
from channel_layer.memory import MemoryChannelLayer
from channel_layer.redis import RedisChannelLayer
from channel_layer.sqlite import SqliteChannelLayer
from interface_server.application import Application
from interface_server.endpoints import Endpoint
from interface_server.options import Options
from interface_server.server import build_server
from routing import Router, route
from tests.conftest import wait_until
from workers import Worker


async def join(message: Any) -> None:
    await Group("room", channel_layer=message.channel_layer).aadd(message.reply_channel)
    await message.reply_channel.asend({"accept": True})


async def say(message: Any) -> None:
    group = Group("room", channel_layer=message.channel_layer)
    await group.asend({"text": f"{message['text']}?"}, immediately=True)
    await asyncio.sleep(0)
    group.send({"text": f"{message['text']}!"})


async def leave(message: Any) -> None:
    await Group("room", channel_layer=message.channel_layer).adiscard(message.reply_channel)
    await Channel("left", channel_layer=message.channel_layer).asend({})


ROUTES = [route("websocket.connect", join), route("websocket.receive", say), route("websocket.disconnect", leave)]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def layer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    layer: Any
    if request.param == "memory":
        layer = MemoryChannelLayer()
    elif request.param == "sqlite":
        layer = SqliteChannelLayer(tmp_path / "layer.sqlite3")
    else:
        url = request.getfixturevalue("redis_url")
        layer = RedisChannelLayer(hosts=[url], prefix=f"one-{secrets.token_hex(8)}:")
    yield layer
    layer.flush()
    layer.close()


@pytest.fixture
def url(layer: Any) -> Iterator[str]:
    options = Options(graceful_timeout=5)
    server = build_server(Application(layer, options), endpoints=[Endpoint(host="127.0.0.1", port=0)])
    sockets = server.bind()
    worker = Worker(layer, Router(ROUTES), signal_handlers=False)
    threads = [threading.Thread(target=server.run, args=(sockets,)), threading.Thread(target=worker.run)]
    for thread in threads:
        thread.start()
    yield f"ws://127.0.0.1:{sockets[0].getsockname()[1]}/"
    server.should_exit = True
    threads[0].join(60)
    worker.stop()
    threads[1].join(60)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.redis
def test_async_consumers_and_the_server_use_the_layer_at_the_same_time(layer: Any, url: str) -> None:
    with connect(url) as one:
        with connect(url) as other:
            for n in range(30):
                (one if n % 2 else other).send(str(n))
                for client in (one, other):
                    assert [client.recv(timeout=60) for _ in range(2)] == [f"{n}?", f"{n}!"]
        wait_until(lambda: layer.receive_batch(["left"], timeout=1), "the other to have left")
        assert len(layer.group_channels("room")) == 1
