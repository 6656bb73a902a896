"""How a worker comes to host the application of a connection."""

from __future__ import annotations

from typing import Any

from channel_layer.channel import Message
from channel_layer.codec import pack_body
from channel_layer.delivery import LAST_ORDER
from channel_layer.memory import MemoryChannelLayer
from channel_layer.messages import CONNECT, DISCONNECT, RESUME
from channels.coroutine_layer import CoroutineChannelLayer
from channels.hosting.consumer import HostConsumer
from channels.hosting.hosted import HostedApplication
from routing import Router, route
from tests.conftest import wait_until
from workers.instances import HOSTS

from ..driving import working

NAME = "daphne.x!s.y"


async def application(scope: Any, receive: Any, send: Any) -> None: ...


def connect_message(layer: MemoryChannelLayer) -> Message:
    opening = {"reply_channel": NAME, "path": "/chat/", "headers": [[b"cookie", b"a=b"]], "order": 0}
    return Message(opening, CONNECT, layer, {"turn": 1})


def test_a_connection_without_routes_is_the_applications() -> None:
    layer = MemoryChannelLayer()
    hosted = HostConsumer(application, Router([]), {}).connect(connect_message(layer))
    assert isinstance(hosted, HostedApplication)
    assert (hosted.reply_channel, hosted.epoch, hosted.done) == (NAME, 0, 0)
    assert hosted.events == [(1, {"type": "websocket.connect"})]
    assert hosted._scope["path"] == "/chat/"
    assert hosted.name == "the application behind /chat/"


def test_an_instance_knows_which_layer_carries_its_connection() -> None:
    layer, other = MemoryChannelLayer(), MemoryChannelLayer()
    hosted = HostConsumer(application, Router([]), {}).connect(connect_message(layer))
    assert isinstance(hosted, HostedApplication)
    assert hosted.is_carried_by(CoroutineChannelLayer(layer))
    assert not hosted.is_carried_by(CoroutineChannelLayer(other))


def test_routes_of_channels_1_come_first() -> None:
    layer = MemoryChannelLayer()
    router = Router([route("websocket.receive", lambda message: None, path=r"^/chat/")])
    assert HostConsumer(application, router, {}).connect(connect_message(layer)) is None
    other = Router([route("websocket.receive", lambda message: None, path=r"^/other/")])
    assert HostConsumer(application, other, {}).connect(connect_message(layer)) is not None


def test_the_last_will_of_a_server_that_disappeared_reaches_those_who_host(layer: Any) -> None:
    told: list[Any] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        while not told or told[-1]["type"] != DISCONNECT:
            told.append(await receive())

    host = HostConsumer(noting, Router([]), {})
    routing = [route(CONNECT, host.connect), route(DISCONNECT, host.disconnect)]
    with working(layer, routing):
        layer.send(CONNECT, connect_message(layer).content)
        wait_until(lambda: len(told) == 1, "the instance")
        wait_until(lambda: layer.group_channels(HOSTS), "the worker to listen")
        layer.send(DISCONNECT, {"reply_channel": NAME, "code": 1000, "path": "/chat/", "order": 3})  # of Channels 1
        layer.send(DISCONNECT, {"reply_channel": NAME, "code": 1006, "path": "/chat/", "order": LAST_ORDER})
        wait_until(lambda: len(told) == 2, "the end")
    assert told == [{"type": CONNECT}, {"type": DISCONNECT, "code": 1006}]


def test_an_instance_that_another_worker_let_go_of_goes_on_from_what_the_connection_kept() -> None:
    opening = {"reply_channel": NAME, "path": "/chat/", "headers": [[b"cookie", b"a=b"]], "order": 0}
    content = {
        "reply_channel": NAME,
        "path": "/chat/",
        "opening": pack_body(opening),
        "checkpoint": b"all",
        "turn": 4,
        "events": [{"type": "websocket.receive", "text": "x"}],
        "turns": [5],
    }
    hosted = HostConsumer(application, Router([]), {}).resume(
        Message(content, RESUME, MemoryChannelLayer(), {"epoch": 3})
    )
    assert (hosted.reply_channel, hosted.epoch, hosted.done) == (NAME, 3, 4)
    assert hosted.events == [(5, {"type": "websocket.receive", "text": "x"})]
    assert hosted._scope["headers"] == [(b"cookie", b"a=b")]
    assert hosted._left == b"all"
    assert not hosted.is_orphan


def test_an_application_that_nobody_hosts_is_made_to_be_told_that_its_server_has_disappeared() -> None:
    opening = {"reply_channel": NAME, "path": "/chat/", "headers": [], "order": 0}
    content = {
        "reply_channel": NAME,
        "path": "/chat/",
        "code": 1006,
        "order": LAST_ORDER,
        "opening": pack_body(opening),
        "checkpoint": b"all",
        "turn": 4,
        "epoch": 3,
    }
    layer = MemoryChannelLayer()
    hosted = HostConsumer(application, Router([]), {}).disconnect(Message(content, DISCONNECT, layer, {}))
    assert hosted is not None
    assert (hosted.reply_channel, hosted.epoch, hosted.done, hosted.is_orphan) == (NAME, 3, 4, True)
    assert hosted.events == [(5, {"type": DISCONNECT, "code": 1006})]
    assert hosted._left == b"all"
