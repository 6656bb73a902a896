"""The guide to sessions and users does what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore

from channels.test import WSClient, apply_routes

from .documents import run_examples
from .driving import Socket, cookie_of, logged_in, working

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def guided(layer: Any) -> Iterator[Any]:
    """Makes sockets, behind which a worker runs the guide's examples."""
    with working(layer, run_examples("sessions-and-auth.md", "guide")["channel_routing"]):
        yield lambda path, name="socket": Socket(layer, name, path=path)


@pytest.fixture
def cookie() -> dict[str, str]:
    """What Ada's browser sends."""
    ada = User.objects.create_user("ada")
    page = logged_in(ada)
    return cookie_of(page)


def test_a_connection_remembers(guided: Any) -> None:
    one = guided("/room/kitchen/")
    assert one.connect() == [{"accept": True}]
    assert one.say("a") == [{"text": "1: a"}]
    assert one.say("b") == [{"text": "2: b"}]
    one.disconnect()
    assert not one.failed


def test_a_message_to_another_channel_finds_the_session(layer: Any) -> None:
    client = WSClient()
    client.join_group("room-kitchen")
    with apply_routes(run_examples("sessions-and-auth.md", "guide")["channel_routing"]):
        client.send_and_consume("websocket.connect", path="/aloud/kitchen/")
        client.send_and_consume("websocket.receive", text="hello", path="/aloud/kitchen/")
        client.consume("chat.say")
    assert client.receive(json=False) == "hello"


def test_users_speak_and_strangers_stay_out(guided: Any, cookie: dict[str, str]) -> None:
    one = guided("/hall/")
    assert one.connect(cookie) == [{"accept": True}]
    assert one.say("hello") == [{"text": "said"}]
    assert guided("/hall/", "stranger").connect() == [{"accept": False}]


@pytest.mark.parametrize(
    ("path", "origin", "accepted"),
    [
        ("/guarded/", "https://testserver", True),
        ("/guarded/", "https://evil.example", False),
        ("/guarded/", None, False),
        ("/partners/", "https://partner.example", True),
        ("/partners/", "https://testserver", False),
    ],
)
def test_origins_are_looked_at(guided: Any, path: str, origin: str | None, accepted: bool) -> None:
    assert guided(path).connect({"origin": origin} if origin else {}) == [{"accept": accepted}]


def test_a_coroutine_asks_the_database(guided: Any, cookie: dict[str, str]) -> None:
    assert guided("/greet/").connect(cookie) == [{"text": "Hello ada, you are in 0 groups"}]


def test_who_logs_out_is_noticed_by_those_who_look_into_the_pages_session(layer: Any, cookie: dict[str, str]) -> None:
    from channels import route
    from channels.auth import (
        channel_and_http_session_user_from_http,
        channel_session_user,
        channel_session_user_from_http,
    )

    def tell(message: Any) -> None:
        message.reply_channel.send({"text": message.user.get_username() or "nobody"})

    routing = [
        route("websocket.connect", channel_session_user_from_http(tell), path="^/own/"),
        route("websocket.receive", channel_session_user(tell), path="^/own/"),
        route("websocket.connect", channel_and_http_session_user_from_http(tell), path="^/page/"),
        route("websocket.receive", channel_and_http_session_user_from_http(tell), path="^/page/"),
    ]
    with working(layer, routing):
        own, page = Socket(layer, "own", path="/own/"), Socket(layer, "page", path="/page/")
        assert own.connect(cookie) == page.connect(cookie) == [{"text": "ada"}]
        SessionStore(cookie["cookie"].partition("=")[2]).delete()
        assert own.say("x") == [{"text": "ada"}]
        assert page.say("x") == [{"text": "nobody"}]
        User.objects.update(is_active=False)
        assert own.say("x") == [{"text": "nobody"}]
