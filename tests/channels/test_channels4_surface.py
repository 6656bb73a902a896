"""The surface of Channels 4, as its documentation and behaviour have it, for this project and for the original.

Nothing in it but this docstring knows of this project. Run as a program, in an environment in which Channels 4 is
installed and away from this repository's packages, it tests that::

    cp tests/channels/test_channels4_surface.py /elsewhere && cd /elsewhere && python test_channels4_surface.py
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

if __name__ == "__main__":
    from django.conf import settings as own

    own.configure(
        SECRET_KEY="only-for-tests",
        USE_TZ=True,
        ALLOWED_HOSTS=["testserver", "localhost"],
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "channels"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": os.path.join(tempfile.mkdtemp(), "database.sqlite3"),
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.urls import path, re_path

import channels
from channels import DEFAULT_CHANNEL_LAYER
from channels.auth import AuthMiddleware, AuthMiddlewareStack, UserLazyObject, get_user, login, logout
from channels.consumer import AsyncConsumer, SyncConsumer, get_handler_name
from channels.db import DatabaseSyncToAsync, aclose_old_connections, database_sync_to_async
from channels.exceptions import (
    AcceptConnection,
    ChannelFull,
    DenyConnection,
    InvalidChannelLayerError,
    MessageTooLarge,
    RequestAborted,
    RequestTimeout,
    StopConsumer,
)
from channels.generic.http import AsyncHttpConsumer
from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
    WebsocketConsumer,
)
from channels.layers import BaseChannelLayer, InMemoryChannelLayer, channel_layers, get_channel_layer
from channels.middleware import BaseMiddleware
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter, get_default_application
from channels.security.websocket import AllowedHostsOriginValidator, OriginValidator, WebsocketDenier
from channels.sessions import CookieMiddleware, InstanceSessionWrapper, SessionMiddleware, SessionMiddlewareStack
from channels.testing import (
    ApplicationCommunicator,
    ChannelsLiveServerTestCase,
    HttpCommunicator,
    WebsocketCommunicator,
)
from channels.utils import await_many_dispatch, name_that_thing
from channels.worker import Worker

IN_MEMORY = "channels.layers.InMemoryChannelLayer"
SECONDS = 20.0
MOMENT = 0.02

Scope = dict[str, Any]


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine function, within a time in which all here is done."""

    async def within_time() -> None:
        await asyncio.wait_for(test(), SECONDS)

    asyncio.run(within_time())


@pytest.fixture
def layer() -> Iterator[Any]:
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": IN_MEMORY, "TEST_CONFIG": {"expiry": 5}}}):
        yield get_channel_layer()


@pytest.fixture
def no_layers() -> Iterator[None]:
    with override_settings(CHANNEL_LAYERS={}):
        yield


@pytest.fixture
def users() -> Iterator[None]:
    yield
    Session.objects.all().delete()
    User.objects.all().delete()


async def opened(application: Any, where: str = "/", **options: Any) -> WebsocketCommunicator:
    communicator = WebsocketCommunicator(application, where, **options)
    connected, _ = await communicator.connect(timeout=SECONDS)
    assert connected
    return communicator


def raw(application: Any, **scope: Any) -> ApplicationCommunicator:
    return ApplicationCommunicator(application, {"type": "websocket", "path": "/", "headers": [], **scope})


async def events_of(application: Any, *events: dict[str, Any], **scope: Any) -> list[Any]:
    """What a WebSocket application sends if these happen and then the client leaves."""
    communicator = raw(application, **scope)
    for event in [{"type": "websocket.connect"}, *events, {"type": "websocket.disconnect", "code": 1001}]:
        await communicator.send_input(event)
    await communicator.wait(timeout=SECONDS)
    sent = []
    while not communicator.output_queue.empty():
        sent.append(communicator.output_queue.get_nowait())
    return sent


# -- names ---------------------------------------------------------------------------------------


def test_names_and_their_kinds() -> None:
    assert DEFAULT_CHANNEL_LAYER == channels.DEFAULT_CHANNEL_LAYER == "default"
    assert isinstance(channels.__version__, str)
    assert issubclass(RequestTimeout, RequestAborted)
    assert issubclass(InvalidChannelLayerError, ValueError)
    for error in (AcceptConnection, DenyConnection, StopConsumer, ChannelFull, MessageTooLarge, RequestAborted):
        assert issubclass(error, Exception)
    assert issubclass(database_sync_to_async, DatabaseSyncToAsync)
    assert issubclass(JsonWebsocketConsumer, WebsocketConsumer)
    assert issubclass(AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer)
    assert issubclass(WebsocketConsumer, SyncConsumer)
    assert issubclass(SyncConsumer, AsyncConsumer)
    assert issubclass(AsyncHttpConsumer, AsyncConsumer)
    assert issubclass(WebsocketCommunicator, ApplicationCommunicator)
    assert issubclass(HttpCommunicator, ApplicationCommunicator)
    assert issubclass(WebsocketDenier, AsyncWebsocketConsumer)
    assert issubclass(InMemoryChannelLayer, BaseChannelLayer)
    assert issubclass(AuthMiddleware, BaseMiddleware)
    assert hasattr(ChannelsLiveServerTestCase, "live_server_ws_url")
    assert "channels" in name_that_thing(
        ChannelsLiveServerTestCase.ProtocolServerProcess
    ) or "daphne" in name_that_thing(ChannelsLiveServerTestCase.ProtocolServerProcess)


# -- consumers -----------------------------------------------------------------------------------


def test_handler_names() -> None:
    assert get_handler_name({"type": "websocket.receive"}) == "websocket_receive"
    assert get_handler_name({"type": "a.b.c_d"}) == "a_b_c_d"
    with pytest.raises(ValueError, match="Incoming message has no 'type' attribute"):
        get_handler_name({"text": "x"})
    with pytest.raises(ValueError, match=r"Malformed type in message \(leading underscore\)"):
        get_handler_name({"type": "_private"})


class Async(AsyncConsumer):
    def __init__(self, name: str = "nobody") -> None:
        self.name, self.heard = name, 0

    async def say_hello(self, event: Any) -> None:
        self.heard += 1
        await self.send({"type": "hello", "name": self.name, "heard": self.heard, "kind": self.scope["type"]})

    async def stop(self, event: Any) -> None:
        raise StopConsumer

    async def fail(self, event: Any) -> None:
        raise RuntimeError("mine")


class Sync(SyncConsumer):
    def __init__(self, name: str = "nobody") -> None:
        self.name, self.heard = name, 0

    def say_hello(self, event: Any) -> None:
        self.heard += 1
        self.send({"type": "hello", "name": self.name, "heard": self.heard, "kind": self.scope["type"]})

    def stop(self, event: Any) -> None:
        raise StopConsumer

    def fail(self, event: Any) -> None:
        raise RuntimeError("mine")


both = pytest.mark.parametrize("consumer", [Async, Sync])


@both
def test_an_instance_lives_as_long_as_its_scope(consumer: Any, no_layers: None) -> None:
    async def test() -> None:
        application = consumer.as_asgi(name="ada")
        for _ in range(2):
            communicator = ApplicationCommunicator(application, {"type": "test"})
            for heard in (1, 2):
                await communicator.send_input({"type": "say.hello"})
                answer = await communicator.receive_output(timeout=SECONDS)
                assert answer == {"type": "hello", "name": "ada", "heard": heard, "kind": "test"}
            await communicator.send_input({"type": "stop"})
            await communicator.wait(timeout=SECONDS)

    run(test)


@both
def test_what_a_handler_raises_reaches_the_server(consumer: Any, no_layers: None) -> None:
    async def test() -> None:
        for event, error, text in (
            ({"type": "fail"}, RuntimeError, "mine"),
            ({"type": "unknown.kind"}, ValueError, "No handler for message type unknown.kind"),
            ({"type": "_hidden"}, ValueError, "Malformed type"),
            ({"kind": "x"}, ValueError, "no 'type' attribute"),
        ):
            communicator = ApplicationCommunicator(consumer.as_asgi(), {"type": "test"})
            await communicator.send_input(event)
            with pytest.raises(error, match=text):
                await communicator.wait(timeout=SECONDS)

    run(test)


@both
def test_the_application_says_what_it_is_made_of(consumer: Any) -> None:
    application = consumer.as_asgi(name="ada")
    assert application.consumer_class is consumer
    assert application.consumer_initkwargs == {"name": "ada"}
    assert application.__name__ == consumer.__name__
    assert application.__doc__ == consumer.__doc__
    assert iscoroutinefunction(application)


@both
def test_without_a_layer_there_is_none_and_no_channel(consumer: Any, no_layers: None) -> None:
    found = []

    class Looks(consumer):  # type: ignore[misc]
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await super().__call__(scope, receive, send)
            found.append((self.channel_layer, hasattr(self, "channel_name")))

    async def test() -> None:
        communicator = ApplicationCommunicator(Looks.as_asgi(), {"type": "test"})
        await communicator.send_input({"type": "stop"})
        await communicator.wait(timeout=SECONDS)

    run(test)
    assert found == [(None, False)]


@both
def test_messages_on_its_channel_are_dispatched_like_those_of_the_client(consumer: Any, layer: Any) -> None:
    names: list[str] = []

    class Named(consumer):  # type: ignore[misc]
        async def dispatch(self, message: Any) -> None:
            names.append(self.channel_name)
            await super().dispatch(message)

    async def test() -> None:
        communicator = ApplicationCommunicator(Named.as_asgi(), {"type": "test"})
        await communicator.send_input({"type": "say.hello"})
        assert (await communicator.receive_output(timeout=SECONDS))["heard"] == 1
        await layer.group_add("all", names[0])
        await layer.send(names[0], {"type": "say.hello"})
        assert (await communicator.receive_output(timeout=SECONDS))["heard"] == 2
        await layer.group_send("all", {"type": "say.hello"})
        assert (await communicator.receive_output(timeout=SECONDS))["heard"] == 3
        assert set(names) == {names[0]}
        await layer.group_send("all", {"type": "stop"})
        await communicator.wait(timeout=SECONDS)

    run(test)


def test_one_handler_runs_at_a_time(layer: Any) -> None:
    order: list[str] = []

    class Slow(AsyncConsumer):
        async def work(self, event: Any) -> None:
            order.append(f"begin {event['n']}")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            order.append(f"end {event['n']}")
            if event["n"] == 3:
                raise StopConsumer

    async def test() -> None:
        communicator = ApplicationCommunicator(Slow.as_asgi(), {"type": "test"})
        for n in (1, 2, 3):
            await communicator.send_input({"type": "work", "n": n})
        await communicator.wait(timeout=SECONDS)

    run(test)
    assert order == [f"{what} {n}" for n in (1, 2, 3) for what in ("begin", "end")]


def test_sync_handlers_run_in_a_thread_and_async_ones_in_the_loop(no_layers: None) -> None:
    threads: list[Any] = []

    class InThread(SyncConsumer):
        def look(self, event: Any) -> None:
            threads.append(threading.current_thread())
            raise StopConsumer

    class InLoop(AsyncConsumer):
        async def look(self, event: Any) -> None:
            threads.append(threading.current_thread())
            raise StopConsumer

    async def test() -> None:
        for consumer in (InThread, InLoop):
            communicator = ApplicationCommunicator(consumer.as_asgi(), {"type": "test"})
            await communicator.send_input({"type": "look"})
            await communicator.wait(timeout=SECONDS)

    run(test)
    assert threads[0] is not threading.main_thread()
    assert threads[1] is threading.main_thread()


# -- WebSockets ----------------------------------------------------------------------------------


class AsyncSocket(AsyncWebsocketConsumer):
    """Does what the path or a frame says."""

    log: list[Any] = []

    async def connect(self) -> None:
        do = self.scope["path"]
        if do == "/subprotocol":
            await self.accept(subprotocol=self.scope["subprotocols"][-1])
        elif do == "/headers":
            await self.accept(headers=[(b"x-room", b"a")])
        elif do == "/deny":
            raise DenyConnection
        elif do == "/accept":
            raise AcceptConnection
        elif do == "/close":
            await self.close()
        elif do == "/close-with":
            await self.close(code=4001, reason="full")
        elif do == "/fail":
            raise RuntimeError("mine")
        else:
            await super().connect()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "close":
            await self.close(4002)
        elif text_data == "last":
            await self.send(text_data="bye", close=True)
        elif text_data == "last-with":
            await self.send(text_data="bye", close=4003)
        elif text_data == "nothing":
            await self.send()
        else:
            await self.send(text_data=text_data, bytes_data=bytes_data)

    async def disconnect(self, code: int) -> None:
        self.log.append(code)


class SyncSocket(WebsocketConsumer):
    """The same without ``await``."""

    log: list[Any] = []

    def connect(self) -> None:
        do = self.scope["path"]
        if do == "/subprotocol":
            self.accept(subprotocol=self.scope["subprotocols"][-1])
        elif do == "/headers":
            self.accept(headers=[(b"x-room", b"a")])
        elif do == "/deny":
            raise DenyConnection
        elif do == "/accept":
            raise AcceptConnection
        elif do == "/close":
            self.close()
        elif do == "/close-with":
            self.close(code=4001, reason="full")
        elif do == "/fail":
            raise RuntimeError("mine")
        else:
            super().connect()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "close":
            self.close(4002)
        elif text_data == "last":
            self.send(text_data="bye", close=True)
        elif text_data == "last-with":
            self.send(text_data="bye", close=4003)
        elif text_data == "nothing":
            self.send()
        else:
            self.send(text_data=text_data, bytes_data=bytes_data)

    def disconnect(self, code: int) -> None:
        self.log.append(code)


sockets = pytest.mark.parametrize("socket", [AsyncSocket, SyncSocket])
ACCEPT = {"type": "websocket.accept", "subprotocol": None}


@sockets
@pytest.mark.parametrize(
    ("where", "answer"),
    [
        ("/", ACCEPT),
        ("/accept", ACCEPT),
        ("/deny", {"type": "websocket.close"}),
        ("/close", {"type": "websocket.close"}),
        ("/close-with", {"type": "websocket.close", "code": 4001, "reason": "full"}),
        ("/headers", {**ACCEPT, "headers": [(b"x-room", b"a")]}),
        ("/subprotocol", {"type": "websocket.accept", "subprotocol": "b"}),
    ],
)
def test_the_answer_to_a_handshake(socket: Any, where: str, answer: Any, no_layers: None) -> None:
    async def test() -> None:
        assert await events_of(socket.as_asgi(), path=where, subprotocols=["a", "b"]) == [answer]

    run(test)


@sockets
@pytest.mark.parametrize(
    ("frame", "answers"),
    [
        ({"text": "hello"}, [{"type": "websocket.send", "text": "hello"}]),
        ({"text": "hello", "bytes": None}, [{"type": "websocket.send", "text": "hello"}]),
        ({"bytes": b"\0"}, [{"type": "websocket.send", "bytes": b"\0"}]),
        ({"text": None, "bytes": b"\0"}, [{"type": "websocket.send", "bytes": b"\0"}]),
        ({"text": "close"}, [{"type": "websocket.close", "code": 4002}]),
        ({"text": "last"}, [{"type": "websocket.send", "text": "bye"}, {"type": "websocket.close"}]),
        ({"text": "last-with"}, [{"type": "websocket.send", "text": "bye"}, {"type": "websocket.close", "code": 4003}]),
    ],
)
def test_frames_and_closing(socket: Any, frame: Any, answers: list[Any], no_layers: None) -> None:
    async def test() -> None:
        assert (await events_of(socket.as_asgi(), {"type": "websocket.receive", **frame}))[1:] == answers

    run(test)


@sockets
def test_a_frame_holds_something(socket: Any, no_layers: None) -> None:
    async def test() -> None:
        with pytest.raises(ValueError, match="You must pass one of bytes_data or text_data"):
            await events_of(socket.as_asgi(), {"type": "websocket.receive", "text": "nothing"})
        with pytest.raises(RuntimeError, match="mine"):
            await events_of(socket.as_asgi(), path="/fail")

    run(test)


@sockets
def test_disconnect_is_called_once_with_the_code(socket: Any, no_layers: None) -> None:
    async def test() -> None:
        socket.log.clear()
        await events_of(socket.as_asgi())
        communicator = await opened(socket.as_asgi())
        await communicator.disconnect(code=4005, timeout=SECONDS)
        communicator = await opened(socket.as_asgi())
        await communicator.disconnect(timeout=SECONDS)
        assert socket.log == [1001, 4005, 1000]

    run(test)


@pytest.mark.parametrize("base", [AsyncWebsocketConsumer, WebsocketConsumer])
def test_groups_of_the_class_are_joined_and_left(base: Any, layer: Any) -> None:
    class Grouped(base):  # type: ignore[misc]
        groups = ["one", "two"]

    class Ready(Grouped):
        if base is AsyncWebsocketConsumer:

            async def told(self, event: Any) -> None:
                await self.send(text_data=event["text"])

        else:

            def told(self, event: Any) -> None:
                self.send(text_data=event["text"])

    async def test() -> None:
        communicator = await opened(Ready.as_asgi())
        assert set(layer.groups) == {"one", "two"}
        for group in ("one", "two"):
            await layer.group_send(group, {"type": "told", "text": group})
            assert await communicator.receive_from(timeout=SECONDS) == group
        await communicator.disconnect(timeout=SECONDS)
        await layer.group_send("one", {"type": "told", "text": "x"})
        assert not any(layer.groups.get(group) for group in ("one", "two"))

    run(test)


@pytest.mark.parametrize("base", [AsyncWebsocketConsumer, WebsocketConsumer])
def test_groups_need_a_layer(base: Any, no_layers: None) -> None:
    class Grouped(base):  # type: ignore[misc]
        groups = ["one"]

    async def test() -> None:
        with pytest.raises(InvalidChannelLayerError, match="groups"):
            await events_of(Grouped.as_asgi())

    run(test)


class AsyncJson(AsyncJsonWebsocketConsumer):
    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        await self.send_json({"heard": content}, close=content == "last")

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        return json.loads(text_data.lower())

    @classmethod
    async def encode_json(cls, content: Any) -> str:
        return json.dumps(content, indent=1)


class SyncJson(JsonWebsocketConsumer):
    def receive_json(self, content: Any, **kwargs: Any) -> None:
        self.send_json({"heard": content}, close=content == "last")

    @classmethod
    def decode_json(cls, text_data: str) -> Any:
        return json.loads(text_data.lower())

    @classmethod
    def encode_json(cls, content: Any) -> str:
        return json.dumps(content, indent=1)


@pytest.mark.parametrize("socket", [AsyncJson, SyncJson])
def test_json_of_the_class(socket: Any, no_layers: None) -> None:
    async def test() -> None:
        frame = {"type": "websocket.receive", "text": '"LAST"'}
        found = await events_of(socket.as_asgi(), frame)
        assert found[1:] == [{"type": "websocket.send", "text": '{\n "heard": "last"\n}'}, {"type": "websocket.close"}]
        for bad in ({"bytes": b"x"}, {"text": ""}, {"text": None, "bytes": b""}):
            with pytest.raises(ValueError, match="No text section for incoming WebSocket frame!"):
                await events_of(socket.as_asgi(), {"type": "websocket.receive", **bad})
        with pytest.raises(json.JSONDecodeError):
            await events_of(socket.as_asgi(), {"type": "websocket.receive", "text": "{"})

    run(test)


def test_public_methods_can_be_reached_by_type(layer: Any) -> None:
    async def test() -> None:
        found = await events_of(AsyncSocket.as_asgi(), {"type": "close"})
        assert found[1]["type"] == "websocket.close"

    run(test)


# -- HTTP ----------------------------------------------------------------------------------------


class Page(AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        do = self.scope["path"]
        if do == "/parts":
            await self.send_headers(status=201, headers={b"X-Kind": b"parts"})
            await self.send_body(b"a", more_body=True)
            await self.send_body(b"b")
        elif do == "/text":
            await self.send_response(200, "text")  # type: ignore[arg-type]
        elif do == "/fail":
            raise RuntimeError("mine")
        else:
            about = f"{self.scope['method']} {self.scope['query_string'].decode()} {len(body)}".encode()
            await self.send_response(200, about, headers=[(b"Content-Type", b"text/plain")])


def test_requests_are_answered(no_layers: None) -> None:
    async def test() -> None:
        for where, body, expected in (
            ("/?a=1", b"xyz", {"status": 200, "body": b"POST a=1 3", "headers": [(b"Content-Type", b"text/plain")]}),
            ("/?a=1", b"", {"status": 200, "body": b"POST a=1 0", "headers": [(b"Content-Type", b"text/plain")]}),
            ("/parts", b"", {"status": 201, "body": b"ab", "headers": [(b"X-Kind", b"parts")]}),
        ):
            response = await HttpCommunicator(Page.as_asgi(), "POST", where, body=body).get_response(timeout=SECONDS)
            assert {**response, "headers": [(bytes(k), bytes(v)) for k, v in response["headers"]]} == expected

    run(test)


def test_a_body_is_bytes_and_comes_in_parts(no_layers: None) -> None:
    async def test() -> None:
        for where, error, text in (
            ("/text", (AssertionError, TypeError), "Body is not bytes"),
            ("/fail", RuntimeError, "mine"),
        ):
            failing = HttpCommunicator(Page.as_asgi(), "GET", where)
            await failing.send_input({"type": "http.request", "body": b""})
            with pytest.raises(error, match=text):
                await failing.wait(timeout=SECONDS)
        with pytest.raises((AssertionError, TypeError)):
            HttpCommunicator(Page.as_asgi(), "GET", "/", body="text")  # type: ignore[arg-type]
        scope = {"type": "http", "method": "PUT", "path": "/", "query_string": b"", "headers": []}
        communicator = ApplicationCommunicator(Page.as_asgi(), scope)
        await communicator.send_input({"type": "http.request", "body": b"ab", "more_body": True})
        assert await communicator.receive_nothing(timeout=MOMENT)
        await communicator.send_input({"type": "http.request", "body": b"c"})
        await communicator.receive_output(timeout=SECONDS)
        assert (await communicator.receive_output(timeout=SECONDS))["body"] == b"PUT  3"

    run(test)


def test_a_request_that_stays_open_is_answered_by_a_message_and_told_of_its_end(layer: Any) -> None:
    ended: list[bool] = []

    class Poll(AsyncHttpConsumer):
        async def http_request(self, message: Any) -> None:
            await self.channel_layer.group_add("polls", self.channel_name)
            await self.send_headers(headers=[(b"Content-Type", b"text/event-stream")])

        async def told(self, event: Any) -> None:
            await self.send_body(event["text"].encode(), more_body=True)

        async def disconnect(self) -> None:
            ended.append(True)

    async def test() -> None:
        communicator = HttpCommunicator(Poll.as_asgi(), "GET", "/")
        await communicator.send_input({"type": "http.request", "body": b""})
        assert (await communicator.receive_output(timeout=SECONDS))["type"] == "http.response.start"
        for text in ("a", "b"):
            await layer.group_send("polls", {"type": "told", "text": text})
            answer = await communicator.receive_output(timeout=SECONDS)
            assert answer == {"type": "http.response.body", "body": text.encode(), "more_body": True}
        await communicator.send_input({"type": "http.disconnect"})
        await communicator.wait(timeout=SECONDS)
        assert ended == [True]

    run(test)


# -- communicators -------------------------------------------------------------------------------


def test_handshakes_by_communicator(no_layers: None) -> None:
    async def test() -> None:
        for where, expected in (
            ("/", (True, None)),
            ("/subprotocol", (True, "b")),
            ("/deny", (False, 1000)),
            ("/close-with", (False, 4001)),
        ):
            communicator = WebsocketCommunicator(AsyncSocket.as_asgi(), where, subprotocols=["a", "b"])
            assert await communicator.connect(timeout=SECONDS) == expected
        communicator = await opened(AsyncSocket.as_asgi(), "/headers")
        assert communicator.response_headers == [(b"x-room", b"a")]

    run(test)


def test_frames_by_communicator(no_layers: None) -> None:
    async def test() -> None:
        communicator = await opened(AsyncSocket.as_asgi())
        await communicator.send_to(text_data="hello")
        assert await communicator.receive_from(timeout=SECONDS) == "hello"
        await communicator.send_to(bytes_data=b"\0")
        assert await communicator.receive_from(timeout=SECONDS) == b"\0"
        await communicator.send_json_to({"a": [1]})
        assert await communicator.receive_json_from(timeout=SECONDS) == {"a": [1]}
        assert await communicator.receive_nothing(timeout=MOMENT, interval=MOMENT / 4)
        await communicator.send_to(text_data="x")
        assert not await communicator.receive_nothing(timeout=SECONDS)
        await communicator.receive_from(timeout=SECONDS)
        await communicator.send_to(text_data="close")
        assert await communicator.receive_output(timeout=SECONDS) == {"type": "websocket.close", "code": 4002}
        await communicator.disconnect(timeout=SECONDS)
        for arguments in ({}, {"text_data": "a", "bytes_data": b"b"}, {"text_data": b"a"}, {"bytes_data": "a"}):
            with pytest.raises(AssertionError):
                await communicator.send_to(**arguments)

    run(test)


def test_the_scope_of_a_communicator(no_layers: None) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None: ...

    async def test() -> None:
        headers = [(b"origin", b"http://localhost")]
        socket = WebsocketCommunicator(
            application, "/a/?b=%20c", headers=headers, subprotocols=["x"], spec_version="2.4"
        )
        assert socket.scope["type"] == "websocket"
        assert (socket.scope["path"], socket.scope["query_string"]) == ("/a/", b"b=%20c")
        assert (socket.scope["headers"], socket.scope["subprotocols"]) == (headers, ["x"])
        assert socket.scope["spec_version"] == "2.4"
        page = HttpCommunicator(application, "get", "/%C3%BC?d")
        assert (page.scope["type"], page.scope["method"]) == ("http", "GET")
        assert (page.scope["path"], page.scope["query_string"]) == ("/ü", b"d")
        assert page.scope["http_version"] == "1.1"
        with pytest.raises(TypeError):
            WebsocketCommunicator(application, b"/bytes")  # type: ignore[arg-type]

    run(test)


def test_what_is_put_into_the_scope_before_the_handshake_is_there(no_layers: None) -> None:
    class Who(AsyncWebsocketConsumer):
        async def connect(self) -> None:
            await self.accept()
            await self.send(text_data=self.scope["user"])

    async def test() -> None:
        communicator = WebsocketCommunicator(Who.as_asgi(), "/")
        communicator.scope["user"] = "ada"
        await communicator.connect(timeout=SECONDS)
        assert await communicator.receive_from(timeout=SECONDS) == "ada"

    run(test)


def test_an_application_that_sends_nothing_is_cancelled_at_the_timeout(no_layers: None) -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def test() -> None:
        communicator = ApplicationCommunicator(silent, {"type": "test"})
        assert await communicator.receive_nothing(timeout=MOMENT)
        with pytest.raises(asyncio.TimeoutError):
            await communicator.receive_output(timeout=MOMENT)
        assert communicator.future.cancelled()
        socket = WebsocketCommunicator(silent, "/")
        with pytest.raises(asyncio.TimeoutError):
            await socket.connect(timeout=MOMENT)
        communicator = ApplicationCommunicator(silent, {"type": "test"})
        await communicator.send_input({"type": "x"})
        await communicator.wait(timeout=MOMENT)  # cancels
        assert communicator.future.cancelled()

    run(test)


def test_what_an_application_raises_comes_out_of_a_communicator(no_layers: None) -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise RuntimeError("mine")

    async def test() -> None:
        for ask in ("receive_output", "wait"):
            communicator = ApplicationCommunicator(failing, {"type": "test"})
            await communicator.send_input({"type": "x"})
            await asyncio.wait([communicator.future])
            with pytest.raises(RuntimeError, match="mine"):
                await getattr(communicator, ask)(timeout=SECONDS)
        communicator = ApplicationCommunicator(failing, {"type": "test"})
        await communicator.send_input({"type": "x"})
        await asyncio.wait([communicator.future])
        with pytest.raises(RuntimeError, match="mine"):
            communicator.stop()
        communicator.stop(exceptions=False)

    run(test)


# -- routing -------------------------------------------------------------------------------------


def reporter(name: str) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"name": name, "route": scope.get("url_route"), "rest": scope.get("path_remaining")})

    return application


async def route_of(application: Any, **scope: Any) -> Any:
    communicator = ApplicationCommunicator(application, {"type": "websocket", **scope})
    await communicator.wait(timeout=SECONDS)
    return communicator.output_queue.get_nowait()


@pytest.mark.parametrize(
    ("where", "name", "kwargs"),
    [
        ("/plain/", "plain", {}),
        ("/room/7/", "int", {"number": 7}),
        ("/room/x/", "str", {"name": "x"}),
        ("/re/ab/", "re", {"letters": "ab"}),
        ("/default/", "default", {"kind": "extra"}),
        ("/outer/a/inner/b/", "inner", {"one": "a", "two": "b"}),
        ("/outer/a/else/", "fallback", {"rest": "a/else/"}),
        ("/args/12/34/", "args", {}),
    ],
)
def test_paths(where: str, name: str, kwargs: Any) -> None:
    inner = URLRouter([path("inner/<str:two>/", reporter("inner"))])
    router = URLRouter([
        path("plain/", reporter("plain")),
        path("room/<int:number>/", reporter("int")),
        path("room/<str:name>/", reporter("str")),
        re_path(r"^re/(?P<letters>[a-z]+)/$", reporter("re")),
        path("default/", reporter("default"), {"kind": "extra"}),
        path("outer/<str:one>/", inner),
        re_path(r"outer/(?P<rest>.*)$", reporter("fallback")),
        re_path(r"^args/(\d+)/(\d+)/$", reporter("args")),
    ])  # fmt: skip

    async def test() -> None:
        answer = await route_of(router, path=where)
        assert (answer["name"], answer["route"]["kwargs"]) == (name, kwargs)
        assert answer["route"]["args"] == (("12", "34") if name == "args" else ())
        assert await route_of(router, path="/prefix" + where, root_path="/prefix") == answer

    run(test)


def test_what_has_no_route_is_named() -> None:
    router = URLRouter([path("a/", reporter("a")), path("b/", URLRouter([path("c/", reporter("c"))]))])

    async def test() -> None:
        for where in ("/x/", "/b/x/"):
            with pytest.raises(ValueError, match=f"No route found for path '{where[1:]}'"):
                await route_of(router, path=where)
        protocols = ProtocolTypeRouter({"http": reporter("http")})
        assert (await route_of(protocols, type="http"))["name"] == "http"
        with pytest.raises(ValueError, match="No application configured for scope type 'websocket'"):
            await route_of(protocols)
        names = ChannelNameRouter({"a": reporter("a")})
        assert (await route_of(names, type="channel", channel="a"))["name"] == "a"
        with pytest.raises(ValueError, match="No application configured for channel name 'b'"):
            await route_of(names, type="channel", channel="b")
        with pytest.raises(ValueError, match="channel"):
            await route_of(names, type="channel")
        with pytest.raises(ValueError, match="path"):
            await route_of(router)

    run(test)


def test_include_is_refused_and_the_default_application_is_that_of_the_setting() -> None:
    from django.urls import include

    with pytest.raises(ImproperlyConfigured, match="include"):
        URLRouter([path("a/", include([path("b/", reporter("b"))]))])
    with override_settings(ASGI_APPLICATION="channels.testing.WebsocketCommunicator"):
        assert get_default_application() is WebsocketCommunicator
    for bad in ("nowhere.application", "channels.testing.nothing"):
        with override_settings(ASGI_APPLICATION=bad), pytest.raises(ImproperlyConfigured):
            get_default_application()


def test_middleware_copies_the_scope() -> None:
    class Adds(BaseMiddleware):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
            return await super().__call__({**scope, "added": 1}, receive, send)

    async def changes(scope: Any, receive: Any, send: Any) -> None:
        await send({"added": scope.get("added")})
        scope["inside"] = True

    async def test() -> None:
        communicator = ApplicationCommunicator(BaseMiddleware(Adds(changes)), {"type": "test"})
        assert await communicator.receive_output(timeout=SECONDS) == {"added": 1}
        await communicator.wait(timeout=SECONDS)
        assert set(communicator.scope) == {"type"}

    run(test)


# -- origins -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "origin", "let_in"),
    [
        (["allowed.com"], b"http://allowed.com", True),
        (["allowed.com"], b"http://ALLOWED.com:81", True),
        (["allowed.com"], b"http://not.com", False),
        ([".allowed.com"], b"http://sub.allowed.com", True),
        ([".allowed.com"], b"https://allowed.com", True),
        (["http://allowed.com:80"], b"http://allowed.com", True),
        (["http://allowed.com"], b"https://allowed.com", False),
        (["https://allowed.com:443"], b"https://allowed.com:8443", False),
        (["http://*"], b"http://allowed.com", False),
        (["*"], b"http://anything.org", True),
        (["*"], None, True),
        (["allowed.com"], None, False),
        (["a.com", "b.com"], b"https://b.com", True),
        ([], b"https://b.com", False),
    ],
)
def test_origins(allowed: list[str], origin: bytes | None, let_in: bool, no_layers: None) -> None:
    headers = [] if origin is None else [(b"origin", origin)]

    async def test() -> None:
        communicator = WebsocketCommunicator(OriginValidator(AsyncSocket.as_asgi(), allowed), "/", headers=headers)
        connected, _ = await communicator.connect(timeout=SECONDS)
        assert connected is let_in

    run(test)


def test_the_allowed_hosts_of_the_settings(no_layers: None) -> None:
    async def let_in(origin: bytes) -> bool:
        application = AllowedHostsOriginValidator(AsyncSocket.as_asgi())
        communicator = WebsocketCommunicator(application, "/", headers=[(b"origin", origin)])
        return (await communicator.connect(timeout=SECONDS))[0]

    async def test() -> None:
        with override_settings(ALLOWED_HOSTS=["mine.com"], DEBUG=False):
            assert await let_in(b"http://mine.com")
            assert not await let_in(b"http://localhost")
        with override_settings(ALLOWED_HOSTS=[], DEBUG=True):
            assert await let_in(b"http://localhost:8000")
            assert await let_in(b"http://127.0.0.1")
            assert not await let_in(b"http://mine.com")
        with override_settings(ALLOWED_HOSTS=["*"]):
            assert await let_in(b"http://whoever.com")
        application = OriginValidator(AsyncSocket.as_asgi(), ["*"])
        with pytest.raises(ValueError, match="OriginValidator"):
            await application({"type": "http", "headers": []}, None, None)

    run(test)


# -- cookies, sessions, users --------------------------------------------------------------------


def test_cookies_are_read_set_and_deleted() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"cookies": dict(scope["cookies"])})

    async def test() -> None:
        for headers, cookies in (([], {}), ([(b"cookie", b"a=1; b=x%20y")], {"a": "1", "b": "x%20y"})):
            communicator = raw(CookieMiddleware(application), headers=headers)
            assert await communicator.receive_output(timeout=SECONDS) == {"cookies": cookies}
        with pytest.raises(ValueError, match="headers"):
            await CookieMiddleware(application)({"type": "channel"}, None, None)

    run(test)
    message: dict[str, Any] = {"type": "http.response.start", "headers": [(b"X", b"y")]}
    CookieMiddleware.set_cookie(message, "a", "1", max_age=60, path="/p", domain="x.com", secure=True, httponly=True)
    name, value = message["headers"][1]
    assert name.lower() == b"set-cookie"
    found = {part.strip().lower() for part in value.decode().split(";")}
    assert {"a=1", "max-age=60", "path=/p", "domain=x.com", "secure", "httponly", "samesite=lax"} <= found
    CookieMiddleware.delete_cookie(message, "a")
    assert "max-age=0" in message["headers"][2][1].decode().lower()
    with pytest.raises(AssertionError, match="samesite"):
        CookieMiddleware.set_cookie(message, "a", "1", samesite="whatever")


def test_a_session_is_found_by_its_cookie_and_not_saved_by_a_websocket(users: None) -> None:
    store = SessionStore()
    store["seen"] = 1
    store.save()
    headers = [(b"cookie", f"sessionid={store.session_key}".encode())]

    async def socket(scope: Any, receive: Any, send: Any) -> None:
        seen = await sync_to_async(scope["session"].get)("seen")
        scope["session"]["seen"] = 2
        await send({"type": "websocket.accept", "seen": seen})

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await sync_to_async(scope["session"].get)("seen")
        scope["session"]["seen"] = 3
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def test() -> None:
        communicator = raw(SessionMiddlewareStack(socket), headers=headers)
        assert (await communicator.receive_output(timeout=SECONDS))["seen"] == 1
        await communicator.wait(timeout=SECONDS)
        assert (await sync_to_async(SessionStore(store.session_key).load)())["seen"] == 1
        communicator = raw(CookieMiddleware(SessionMiddleware(page)), type="http", headers=headers)
        start = await communicator.receive_output(timeout=SECONDS)
        assert any(name.lower() == b"set-cookie" and b"sessionid=" in value for name, value in start["headers"])
        await communicator.receive_output(timeout=SECONDS)
        assert (await sync_to_async(SessionStore(store.session_key).load)())["seen"] == 3
        with pytest.raises(ValueError, match="cookies"):
            await SessionMiddleware(page)({"type": "http", "headers": []}, None, None)

    run(test)
    assert "http.response.start" in InstanceSessionWrapper.save_message_types


def test_logging_in_and_out(users: None) -> None:
    ada = User.objects.create_user("ada", password="x")

    async def test() -> None:
        session = SessionStore()
        session["cart"] = 1
        scope: Scope = {"session": session}
        assert isinstance(await get_user(scope), AnonymousUser)
        await login(scope, ada)
        assert scope["user"] == ada
        assert session[SESSION_KEY] == str(ada.pk)
        assert session[BACKEND_SESSION_KEY] == "django.contrib.auth.backends.ModelBackend"
        assert session[HASH_SESSION_KEY] == ada.get_session_auth_hash()
        assert session["cart"] == 1
        await sync_to_async(session.save)()
        assert await get_user(scope) == ada
        key = session.session_key
        await logout(scope)
        assert isinstance(scope["user"], AnonymousUser)
        assert SESSION_KEY not in session
        assert not await sync_to_async(SessionStore().exists)(key)
        assert isinstance(await get_user(scope), AnonymousUser)
        for call in (get_user({}), logout({}), login({}, ada)):
            with pytest.raises(ValueError, match="annot find session in scope"):
                await call
        with pytest.raises(ValueError, match="User must be passed as an argument or must be present in the scope"):
            await login({"session": session}, None)
        several = ["django.contrib.auth.backends.ModelBackend", "django.contrib.auth.backends.RemoteUserBackend"]
        with override_settings(AUTHENTICATION_BACKENDS=several):
            with pytest.raises(ValueError, match="backend"):
                await login({"session": SessionStore()}, await User.objects.aget(pk=ada.pk))
            await login({"session": SessionStore()}, ada, backend=several[1])

    run(test)


def test_the_stack_finds_the_user_of_the_cookie(users: None) -> None:
    ada = User.objects.create_user("ada", password="x")
    store = SessionStore()
    store[SESSION_KEY], store[BACKEND_SESSION_KEY] = str(ada.pk), "django.contrib.auth.backends.ModelBackend"
    store[HASH_SESSION_KEY] = ada.get_session_auth_hash()
    store.save()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept", "user": scope["user"].username, "keys": sorted(scope)})

    async def test() -> None:
        headers = [(b"cookie", f"sessionid={store.session_key}".encode())]
        communicator = raw(AuthMiddlewareStack(application), headers=headers)
        answer = await communicator.receive_output(timeout=SECONDS)
        assert answer["user"] == "ada"
        assert {"cookies", "session", "user"} <= set(answer["keys"])
        assert (await raw(AuthMiddlewareStack(application)).receive_output(timeout=SECONDS))["user"] == ""
        with pytest.raises(ValueError, match="SessionMiddleware"):
            await AuthMiddleware(application)({"type": "http", "headers": []}, None, None)
        with pytest.raises(ValueError, match="Accessing scope user before it is ready"):
            str(UserLazyObject().username)

    run(test)


# -- layers --------------------------------------------------------------------------------------


def test_layers_of_the_settings(layer: Any) -> None:
    assert isinstance(layer, InMemoryChannelLayer)
    assert get_channel_layer("default") is layer
    assert get_channel_layer("unknown") is None
    assert channel_layers["default"] is layer
    assert "default" in channel_layers
    assert channel_layers.configs["default"]["BACKEND"] == IN_MEMORY
    assert channel_layers.backends["default"] is layer
    assert channel_layers.make_backend("default") is not layer
    assert channel_layers.make_test_backend("default").expiry == 5
    other = InMemoryChannelLayer()
    assert channel_layers.set("default", other) is layer
    assert get_channel_layer() is other
    assert channel_layers.set("default", None) is other
    with override_settings(CHANNEL_LAYERS={}):
        assert get_channel_layer() is None
        assert "default" not in channel_layers
    assert get_channel_layer() not in (None, layer, other)


@pytest.mark.parametrize(
    "config",
    [{"BACKEND": "nowhere.Layer"}, {"BACKEND": "channels.layers.Nothing"}, {}],
    ids=["no module", "no class", "no backend"],
)
def test_a_layer_that_cannot_be_made_is_refused(config: Any) -> None:
    with override_settings(CHANNEL_LAYERS={"default": config}), pytest.raises(InvalidChannelLayerError):
        get_channel_layer()


def test_a_layer_without_options_for_tests_is_refused() -> None:
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": IN_MEMORY}}), pytest.raises(InvalidChannelLayerError):
        channel_layers.make_test_backend("default")


GOOD_CHANNELS = ["a", "a.b-c_d", "specific.x!y", "x!y.z", "a" * 99]
BAD_CHANNELS = ["a b", "a/b", "ü", "a" * 100, "a!b!c", ""]


@pytest.mark.parametrize("name", GOOD_CHANNELS)
def test_names_of_channels(name: str) -> None:
    assert BaseChannelLayer().require_valid_channel_name(name)


@pytest.mark.parametrize("name", [*BAD_CHANNELS, 7, None, b"a"])
def test_what_is_no_name(name: Any) -> None:
    layer = InMemoryChannelLayer()
    with pytest.raises(TypeError, match="Channel name must be a valid unicode string"):
        layer.require_valid_channel_name(name)
    with pytest.raises(TypeError, match="Group name must be a valid unicode string"):
        layer.require_valid_group_name(name)

    async def test() -> None:
        for call in (layer.send(name, {"type": "x"}), layer.group_add("g", name), layer.group_discard("g", name)):
            with pytest.raises(TypeError):
                await call
        for call in (layer.group_add(name, "a"), layer.group_send(name, {"type": "x"})):
            with pytest.raises(TypeError):
                await call

    run(test)


def test_helpers_of_the_base() -> None:
    layer = BaseChannelLayer(expiry=7, capacity=3)
    assert (layer.expiry, layer.capacity, BaseChannelLayer.MAX_NAME_LENGTH) == (7, 3, 100)
    assert layer.non_local_name("specific.a!b") == "specific.a!"
    assert layer.non_local_name("a") == "a"
    with pytest.raises(TypeError):
        layer.require_valid_group_name("a!b")
    with pytest.raises(TypeError):
        layer.require_valid_channel_name("a!b", receive=True)
    rules = {"http.*": 10, re.compile(r"^ws\."): 20}
    layer.channel_capacity = layer.compile_capacities(rules)
    assert [layer.get_capacity(name) for name in ("http.request", "ws.x", "other")] == [10, 20, 3]


def test_messages_come_in_order_once_and_as_copies() -> None:
    async def test() -> None:
        layer = InMemoryChannelLayer()
        first = {"type": "a", "n": [1]}
        await layer.send("channel", first)
        first["n"].append(2)  # type: ignore[attr-defined]
        await layer.send("channel", {"type": "b"})
        assert await layer.receive("channel") == {"type": "a", "n": [1]}
        assert await layer.receive("channel") == {"type": "b"}
        waiting = asyncio.ensure_future(layer.receive("channel"))
        await asyncio.sleep(MOMENT)
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await layer.send("channel", {"type": "c"})  # the cancelled one has not taken it
        assert await layer.receive("channel") == {"type": "c"}
        with pytest.raises((AssertionError, TypeError)):
            await layer.send("channel", "text")  # type: ignore[arg-type]

    run(test)


def test_a_full_channel_and_a_full_member() -> None:
    async def test() -> None:
        layer = InMemoryChannelLayer(capacity=2)
        for _ in range(2):
            await layer.send("narrow", {"type": "x"})
        with pytest.raises(ChannelFull):
            await layer.send("narrow", {"type": "x"})
        await layer.group_add("group", "narrow")
        await layer.group_send("group", {"type": "x"})  # dropped in silence
        for _ in range(2):
            await layer.receive("narrow")
        waiting = asyncio.ensure_future(layer.receive("narrow"))
        await asyncio.sleep(MOMENT)
        assert not waiting.done()
        waiting.cancel()

    run(test)


def test_messages_expire() -> None:
    async def test() -> None:
        layer = InMemoryChannelLayer(expiry=MOMENT)
        await layer.send("channel", {"type": "old"})
        await asyncio.sleep(MOMENT * 3)
        layer.expiry = 60
        waiting = asyncio.ensure_future(layer.receive("channel"))
        await asyncio.sleep(MOMENT)
        assert not waiting.done()
        waiting.cancel()

    run(test)


def test_groups() -> None:
    async def test() -> None:
        layer = InMemoryChannelLayer()
        names = [await layer.new_channel() for _ in range(3)]
        assert len(set(names)) == 3
        assert all(name.startswith("specific.") and "!" in name for name in names)
        assert (await layer.new_channel("mine")).startswith("mine.")
        for name in [*names, names[0]]:  # once more is no harm
            await layer.group_add("group", name)
        await layer.group_send("group", {"type": "x", "list": [1]})
        found = [await layer.receive(name) for name in names]
        assert found == [{"type": "x", "list": [1]}] * 3
        found[0]["list"].append(2)
        assert found[1]["list"] == [1]
        await layer.group_discard("group", names[0])
        await layer.group_discard("group", "nobody")
        await layer.group_discard("no-group", names[0])
        await layer.group_send("group", {"type": "y"})
        await layer.group_send("no-group", {"type": "y"})
        assert await layer.receive(names[1]) == {"type": "y"}
        waiting = asyncio.ensure_future(layer.receive(names[0]))
        await asyncio.sleep(MOMENT)
        assert not waiting.done()
        waiting.cancel()
        await layer.flush()
        assert not layer.groups
        assert "groups" in layer.extensions
        assert "flush" in layer.extensions
        await layer.close()

    run(test)


def test_a_layer_is_used_from_sync_code(layer: Any) -> None:
    async_to_sync(layer.group_add)("group", "channel")
    async_to_sync(layer.group_send)("group", {"type": "x"})
    assert async_to_sync(layer.receive)("channel") == {"type": "x"}


# -- the rest ------------------------------------------------------------------------------------


def test_the_database_from_coroutines(users: None) -> None:
    class Rows:
        @database_sync_to_async
        def make(self, name: str) -> Any:
            return User.objects.create_user(name).username

    @database_sync_to_async
    def count() -> int:
        """How many."""
        return User.objects.count()

    async def test() -> None:
        assert await Rows().make("ada") == "ada"
        assert await count() == 1
        assert await DatabaseSyncToAsync(User.objects.get)(username="ada") == await User.objects.aget(username="ada")
        with pytest.raises(User.DoesNotExist):
            await database_sync_to_async(User.objects.get)(username="bob")
        thread = await database_sync_to_async(threading.current_thread)()
        assert thread is not threading.current_thread()
        assert thread is await database_sync_to_async(threading.current_thread)()
        await aclose_old_connections()

    run(test)


def test_many_sources() -> None:
    async def test() -> None:
        queues: list[asyncio.Queue[Any]] = [asyncio.Queue(), asyncio.Queue()]
        found: list[Any] = []

        async def dispatch(event: Any) -> None:
            found.append(event)
            if len(found) == 4:
                raise StopConsumer

        for n in (1, 2):
            for name, queue in zip("ab", queues, strict=True):
                queue.put_nowait(f"{name}{n}")
        with pytest.raises(StopConsumer):
            await await_many_dispatch([queue.get for queue in queues], dispatch)
        assert found[0] == "a1"
        assert sorted(found) == ["a1", "a2", "b1", "b2"]
        assert [one for one in found if one[0] == "b"] == ["b1", "b2"]

    run(test)
    assert name_that_thing(AsyncSocket) == f"{__name__}.AsyncSocket"
    assert name_that_thing(run) == f"{__name__}.run"


def test_a_worker_feeds_an_application(layer: Any) -> None:
    heard: list[Any] = []

    class Background(AsyncConsumer):
        async def make(self, event: Any) -> None:
            heard.append((self.scope["type"], self.scope["channel"], event["n"]))
            await layer.send("done", {"n": event["n"]})

    async def test() -> None:
        application = ProtocolTypeRouter({"channel": ChannelNameRouter({"thumbnails": Background.as_asgi()})})
        worker: Any = Worker(application, ["thumbnails"], layer)
        for n in (1, 2):
            await layer.send("thumbnails", {"type": "make", "n": n})
        task = asyncio.ensure_future(worker.handle())
        for n in (1, 2):
            assert await layer.receive("done") == {"n": n}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(test)
    assert heard == [("channel", "thumbnails", 1), ("channel", "thumbnails", 2)]
    with pytest.raises(ValueError, match="hannel layer is not valid"):
        Worker(reporter("x"), ["thumbnails"], None)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "--tb=native", "-p", "no:cacheprovider", "-p", "no:django"]))
