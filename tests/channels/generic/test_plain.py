"""`WebsocketConsumer`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import override_settings

from channels import Group, route_class
from channels.exceptions import DenyConnection
from channels.generic.websockets import WebsocketConsumer

from ..driving import Socket, logged_in, working
from ..messages import REPLY, replies, websocket


class Recording(WebsocketConsumer):
    calls: list[Any]

    def connect(self, message: Any, **kwargs: Any) -> None:
        self.calls.append(("connect", message, kwargs))

    def receive(self, text: str | None = None, bytes: bytes | None = None, **kwargs: Any) -> None:
        self.calls.append(("receive", text, bytes, kwargs))

    def disconnect(self, message: Any, **kwargs: Any) -> None:
        self.calls.append(("disconnect", message, kwargs))


@pytest.fixture
def recording() -> type[Recording]:
    return type("Fresh", (Recording,), {"calls": []})


def test_it_takes_the_three_channels_of_a_websocket() -> None:
    assert WebsocketConsumer.channel_names() == {"websocket.connect", "websocket.receive", "websocket.disconnect"}


def test_it_accepts_and_otherwise_does_nothing(layer: Any) -> None:
    for kind in ("connect", "receive", "disconnect"):
        WebsocketConsumer(websocket(layer, kind, text="x"))
    assert replies(layer) == [{"accept": True}]


def test_connect_and_disconnect_get_the_message_and_receive_gets_the_frame(
    layer: Any, recording: type[Recording]
) -> None:
    connect, disconnect = websocket(layer), websocket(layer, "disconnect")
    recording(connect, room="a")
    recording(websocket(layer, "receive", text="hello", bytes=None), room="a")
    recording(websocket(layer, "receive", text=None, bytes=b"\x00"), room="a")
    recording(websocket(layer, "receive", text="only"))
    recording(websocket(layer, "receive", text=""))
    recording(disconnect, room="a")
    assert recording.calls == [
        ("connect", connect, {"room": "a"}),
        ("receive", "hello", None, {"room": "a"}),
        ("receive", None, b"\x00", {"room": "a"}),
        ("receive", "only", None, {}),
        ("receive", "", None, {}),
        ("disconnect", disconnect, {"room": "a"}),
    ]


def test_the_path_is_on_the_instance(layer: Any) -> None:
    assert WebsocketConsumer(websocket(layer, path="/lobby/")).path == "/lobby/"


def test_groups_are_joined_before_connect_and_left_before_disconnect(layer: Any) -> None:
    seen = []

    class Watching(WebsocketConsumer):
        groups = ["one", "two"]

        def connect(self, message: Any, **kwargs: Any) -> None:
            seen.append([layer.group_channels(name) for name in ("one", "two")])

        def disconnect(self, message: Any, **kwargs: Any) -> None:
            seen.append([layer.group_channels(name) for name in ("one", "two")])

    Watching(websocket(layer))
    Watching(websocket(layer, "disconnect"))
    assert seen == [[[REPLY], [REPLY]], [[], []]]


def test_groups_can_depend_on_the_route(layer: Any) -> None:
    class Rooms(WebsocketConsumer):
        def connection_groups(self, **kwargs: Any) -> list[str]:
            return [f"room-{kwargs['room']}"]

    Rooms(websocket(layer), room="kitchen")
    assert layer.group_channels("room-kitchen") == [REPLY]
    Rooms(websocket(layer, "disconnect"), room="kitchen")
    assert layer.group_channels("room-kitchen") == []


def test_text_as_groups_is_no_list(layer: Any) -> None:
    class Wrong(WebsocketConsumer):
        groups = "room"

    with pytest.raises(TypeError, match=r"Wrong are a list of names, not the text 'room'; write \['room'\]"):
        Wrong(websocket(layer))


def test_frames_are_sent_to_the_client(layer: Any) -> None:
    consumer = WebsocketConsumer(websocket(layer, "disconnect"))
    consumer.send(text="a")
    consumer.send(bytes=b"b")
    consumer.send("c", close=True)
    consumer.send(text="", close=4001)
    consumer.send(text="d", bytes=b"e")
    consumer.close()
    consumer.close(status=4002)
    consumer.close(4003, "because")
    assert replies(layer) == [
        {"text": "a"},
        {"bytes": b"b"},
        {"close": True, "text": "c"},
        {"close": 4001, "text": ""},
        {"text": "d"},
        {"close": True},
        {"close": 4002},
        {"close": 4003, "reason": "because"},
    ]


def test_frames_are_sent_to_groups(layer: Any) -> None:
    Group("room").add(REPLY)
    WebsocketConsumer.group_send("room", text="a")
    WebsocketConsumer.group_send("room", bytes=b"b", close=True)
    assert replies(layer) == [{"text": "a"}, {"bytes": b"b", "close": True}]


def test_a_frame_has_text_or_bytes(layer: Any) -> None:
    consumer = WebsocketConsumer(websocket(layer, "disconnect"))
    with pytest.raises(ValueError, match="text or bytes"):
        consumer.send()
    with pytest.raises(ValueError, match="text or bytes"):
        WebsocketConsumer.group_send("room", close=True)


def test_connect_can_deny(layer: Any) -> None:
    class Closed(WebsocketConsumer):
        groups = ["guests"]

        def connect(self, message: Any, **kwargs: Any) -> None:
            super().connect(message, **kwargs)
            raise DenyConnection

    with working(layer, [route_class(Closed)]):
        assert Socket(layer).connect() == [{"accept": False}]


@pytest.mark.parametrize("attribute", ["http_user", "http_user_and_session"])
@pytest.mark.parametrize("store", ["connection", "database"])
@pytest.mark.usefixtures("database")
def test_the_user_of_the_page_is_known_on_every_message(layer: Any, attribute: str, store: str) -> None:
    ada = User.objects.create_user("ada")
    page = logged_in(ada)
    page["colour"] = "red"
    page.save()

    class Knowing(WebsocketConsumer):
        def connect(self, message: Any, **kwargs: Any) -> None:
            assert message.http_session["colour"] == "red"
            self.send(text=message.user.username)

        def receive(self, text: str | None = None, bytes: bytes | None = None, **kwargs: Any) -> None:
            colour = self.message.http_session and self.message.http_session["colour"]
            self.send(text=f"{self.message.user.username} {colour}")

    route = Knowing.as_route(attrs={attribute: True})
    with override_settings(CHANNEL_SESSION_STORE=store), working(layer, [route]):
        socket = Socket(layer)
        cookie = f"{settings.SESSION_COOKIE_NAME}={page.session_key}"
        assert socket.connect({"cookie": cookie}) == [{"text": "ada"}]
        colour = "red" if attribute == "http_user_and_session" else None
        assert socket.say("who am I?") == [{"text": f"ada {colour}"}]


def test_http_user_implies_a_user_of_the_channel_session(layer: Any) -> None:
    class Knowing(WebsocketConsumer):
        http_user = True

    consumer = Knowing(websocket(layer))
    assert consumer.channel_session_user is True
    assert consumer.message.user.is_authenticated is False


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("is_async", [False, True])
def test_strict_ordering_puts_early_messages_behind(layer: Any, is_async: bool) -> None:
    class Ordered(WebsocketConsumer):
        strict_ordering = True

        def receive(self, text: str | None = None, bytes: bytes | None = None, **kwargs: Any) -> None:
            self.send(text=text)

    class AsyncOrdered(Ordered):
        async def receive(self, text: str | None = None, bytes: bytes | None = None, **kwargs: Any) -> None:
            await asyncio.sleep(0)
            self.send(text=text)

    def run(*args: Any, **content: Any) -> None:
        result = (AsyncOrdered if is_async else Ordered)(websocket(layer, *args, turn=None, **content))
        if asyncio.iscoroutine(result):
            asyncio.run(result)

    run("connect", order=0)
    run("receive", order=2, text="second")
    assert replies(layer) == [{"accept": True}]
    run("receive", order=1, text="first")
    assert replies(layer) == [{"text": "first"}]
    name, content = layer.receive(["websocket.receive"])
    assert (name, content["text"]) == ("websocket.receive", "second")


def test_slight_ordering_is_gone(layer: Any) -> None:
    class Old(WebsocketConsumer):
        slight_ordering = True

    with pytest.raises(ValueError, match="slight_ordering no longer exists"):
        Old(websocket(layer))


def test_async_methods_run_in_the_worker_behind_the_groups(layer: Any) -> None:
    class Slow(WebsocketConsumer):
        groups = ["slow"]

        async def connect(self, message: Any, **kwargs: Any) -> None:
            await asyncio.sleep(0)
            self.send(text=f"{len(layer.group_channels('slow'))} here")

        async def receive(self, text: str | None = None, bytes: bytes | None = None, **kwargs: Any) -> None:
            await asyncio.sleep(0)
            self.send(text=f"{text} {kwargs['room']}")

        async def disconnect(self, message: Any, **kwargs: Any) -> None:
            await asyncio.sleep(0)
            Group("watchers").send({"text": f"{len(layer.group_channels('slow'))} left"})

    Group("watchers").add("daphne.test!watcher")
    with working(layer, [Slow.as_route(path=r"^/(?P<room>\w+)/$")]):
        socket = Socket(layer, path="/kitchen/")
        assert socket.connect() == [{"text": "1 here"}]
        assert socket.say("in the") == [{"text": "in the kitchen"}]
        assert not socket.failed
        socket.disconnect()
        assert not socket.failed
        assert layer.group_channels("slow") == []
