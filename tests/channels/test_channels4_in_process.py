"""An application of Channels 4 in the process of an ASGI server that is not ours."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIHandler
from django.test import Client, override_settings
from django.urls import path, re_path
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from channels.auth import AuthMiddlewareStack, login
from channels.exceptions import DenyConnection
from channels.generic.http import AsyncHttpConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer, WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from tests.conftest import wait_until

pytestmark = pytest.mark.usefixtures("database")


class Chat(AsyncJsonWebsocketConsumer):
    """One room; those who are in it see what is said."""

    async def connect(self) -> None:
        self.room = self.scope["url_route"]["kwargs"]["room"]
        if self.room == "closed":
            raise DenyConnection
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        event = {"type": "chat.message", "text": content, "by": str(self.scope["user"])}
        await self.channel_layer.group_send(self.room, event)

    async def chat_message(self, event: dict[str, Any]) -> None:
        await self.send_json([event["by"], event["text"]])

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.room, self.channel_name)


class Accounts(WebsocketConsumer):
    """Counts users, in a thread with the ORM."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "fail":
            raise RuntimeError("mine")
        self.send(text_data=str(User.objects.count()), close=4001 if text_data == "last" else False)


class SignIn(AsyncHttpConsumer):
    """Logs somebody in."""

    async def handle(self, body: bytes) -> None:
        await login(self.scope, await User.objects.aget(username=body.decode()))
        await self.send_response(200, b"welcome")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server with the application."""
    websockets = URLRouter([path("chat/<room>/", Chat.as_asgi()), path("accounts/", Accounts.as_asgi())])
    requests = URLRouter([path("sign-in/", SignIn.as_asgi()), re_path("", ASGIHandler())])  # type: ignore[arg-type]
    application = ProtocolTypeRouter(
        {
            "http": AuthMiddlewareStack(requests),
            "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(websockets)),
        }
    )
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}):
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(application, log_config=None, log_level="critical", ws="websockets-sansio")
        )
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        wait_until(lambda: server.started, "uvicorn")
        yield int(listener.getsockname()[1])
        server.should_exit = True
        thread.join(30)


def open_socket(port: int, where: str, origin: str = "http://localhost", **headers: str) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port}{where}", additional_headers={"Origin": origin, **headers})


def test_members_of_a_group_see_what_is_said(port: int) -> None:
    with open_socket(port, "/chat/kitchen/") as one, open_socket(port, "/chat/kitchen/") as other:
        one.send('"hello"')
        for member in (one, other):
            assert json.loads(member.recv(20)) == ["AnonymousUser", "hello"]


def test_who_logs_in_by_http_is_known_in_a_websocket(port: int) -> None:
    User.objects.create_user("ada", password="x")
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    client.request("POST", "/sign-in/", body=b"ada")
    response = client.getresponse()
    assert (response.status, response.read()) == (200, b"welcome")
    cookie = str(response.getheader("Set-Cookie")).partition(";")[0]
    client.close()
    with open_socket(port, "/chat/hall/", Cookie=cookie) as ada:
        ada.send('"hello"')
        assert json.loads(ada.recv(20)) == ["ada", "hello"]


def test_djangos_views_are_behind_the_same_application(port: int) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    client.request("GET", "/no-such-page/", headers={"Host": "localhost"})
    assert client.getresponse().status == Client().get("/no-such-page/").status_code == 404
    client.close()


def test_a_sync_consumer_uses_the_orm_and_closes_with_a_code(port: int) -> None:
    User.objects.create_user("ada", password="x")
    with open_socket(port, "/accounts/") as client:
        client.send("count")
        assert client.recv(20) == "1"
        client.send("last")
        assert client.recv(20) == "1"
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(20)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 4001


def test_an_error_in_a_handler_closes_its_socket_only(port: int) -> None:
    with open_socket(port, "/accounts/") as other, open_socket(port, "/accounts/") as failing:
        failing.send("fail")
        with pytest.raises(ConnectionClosed):
            failing.recv(20)
        other.send("count")
        assert other.recv(20) == "0"


@pytest.mark.parametrize(
    ("where", "origin", "status"),
    [
        ("/chat/closed/", "http://localhost", 403),
        ("/chat/kitchen/", "http://elsewhere.com", 403),
        ("/no-such-socket/", "http://localhost", 500),
    ],
)
def test_a_handshake_is_refused(port: int, where: str, origin: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as caught:
        open_socket(port, where, origin)
    assert caught.value.response.status_code == status
