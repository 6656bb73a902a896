"""`channels.test.websocket`: cookies, headers, sessions, users, paths, text."""

from __future__ import annotations

import base64
import json
import re
import socket
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.http import parse_cookie
from django.test import SimpleTestCase, override_settings

from channel_layer.memory import MemoryChannelLayer
from channels import route
from channels.auth import channel_session_user, channel_session_user_from_http, http_session_user
from channels.configured_layers import ChannelLayerWrapper
from channels.http.request import AsgiRequest
from channels.sessions import (
    channel_and_http_session,
    channel_session,
    enforce_ordering,
    http_session,
    session_for_reply_channel,
)
from channels.test import ChannelTestCase, HttpClient, WSClient, apply_routes
from channels.test.http import HttpClient as OldHttpClient
from channels.test.layers import in_memory
from channels.test.live_parts import ServerPart
from channels.test.live_threads import Threaded
from tests.conftest import wait_until


def accept(message: Any, **kwargs: Any) -> None:
    message.reply_channel.send({"accept": True})


def sent(client: WSClient, to: str = "websocket.receive", *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What arrives on the channel when the client sends."""
    client.send(to, *args, **kwargs)
    message = client.get_next_message(to)
    assert message is not None
    content: dict[str, Any] = message.content
    return content


def test_the_names_of_old_are_the_same_class() -> None:
    assert HttpClient is OldHttpClient is WSClient


class MessageTests(ChannelTestCase):
    def test_a_message_has_path_headers_and_reply_channel(self) -> None:
        client = WSClient()
        content = sent(client)
        assert set(content) == {"path", "headers", "reply_channel"}
        assert (content["path"], content["reply_channel"]) == ("/", client.reply_channel)

    def test_headers_arrive_as_an_interface_server_sends_them(self) -> None:
        client = WSClient()
        client.set_header("Origin", "http://example.com")
        client.set_header("x-raw", b"raw")
        headers = sent(client)["headers"]
        assert [b"origin", b"http://example.com"] in headers
        assert [b"x-raw", b"raw"] in headers

    def test_headers_may_be_given_with_the_content(self) -> None:
        assert sent(WSClient(), content={"headers": {"host": "a"}})["headers"] == [[b"host", b"a"]]
        assert sent(WSClient(), content={"headers": [[b"host", b"a"]]})["headers"] == [[b"host", b"a"]]

    def test_headers_by_name_are_there_to_look_at(self) -> None:
        client = WSClient()
        client.set_header("origin", "here")
        assert client.headers["origin"] == "here"
        assert isinstance(client.headers["cookie"], bytes)

    def test_the_cookie_header_is_made_from_cookies(self) -> None:
        with pytest.raises(ValueError, match="set_cookie"):
            WSClient().set_header("cookie", "a=b")

    def test_cookies_survive_whatever_they_hold(self) -> None:
        client = WSClient()
        client.set_cookie("foo", "not-bar")
        client.set_cookie("foo", "bar")
        client.set_cookie("qux", "qu;x")
        cookies = client.get_cookies()
        assert cookies == {"foo": "bar", "qux": "qu;x", settings.SESSION_COOKIE_NAME: client.session.session_key}
        assert parse_cookie(client.headers["cookie"].decode("ascii")) == cookies

    def test_text_is_sent_as_it_is_and_anything_else_as_json(self) -> None:
        assert sent(WSClient(), text="plain")["text"] == "plain"
        assert json.loads(sent(WSClient(), text={"key": ["value"]})["text"]) == {"key": ["value"]}
        assert sent(WSClient(), text={})["text"] == "{}"
        assert sent(WSClient(), content={"text": {"a": 1}})["text"] == '{"a": 1}'
        assert "text" not in sent(WSClient(), content={"bytes": b"\x00"})

    def test_the_query_string_comes_with_the_connect_only(self) -> None:
        client = WSClient()
        connect = sent(client, "websocket.connect", path="/chat/?a=1&b=?")
        assert (connect["path"], connect["query_string"]) == ("/chat/", b"a=1&b=?")
        receive = sent(client, path="/chat/?a=1")
        assert receive["path"] == "/chat/"
        assert "query_string" not in receive

    def test_the_contents_keys_take_precedence(self) -> None:
        assert sent(WSClient(), content={"path": "/mine/"}, path="/other/")["path"] == "/mine/"

    def test_a_view_of_it_as_a_request(self) -> None:
        def consumer(message: Any) -> None:
            message.reply_channel.send({"text": json.dumps(dict(AsgiRequest(message).GET))})

        client = WSClient()
        with apply_routes(route("websocket.connect", consumer, path="^/test")):
            client.send_and_consume("websocket.connect", path="/test?a=1&b=2&a=3", check_accept=False)
        assert client.receive() == {"a": ["1", "3"], "b": ["2"]}


class ReceiveTests(ChannelTestCase):
    def receive(self, content: dict[str, Any], **kwargs: Any) -> Any:
        client = WSClient()
        client.channel_layer.send(client.reply_channel, content)
        return client.receive(**kwargs)

    def test_json_is_decoded_unless_it_is_not_wanted(self) -> None:
        assert self.receive({"text": '{"a": 1}'}) == {"a": 1}
        assert self.receive({"text": '{"a": 1}'}, json=False) == '{"a": 1}'
        with pytest.raises(ValueError):
            self.receive({"text": "no json"})

    def test_without_text_it_is_the_content(self) -> None:
        assert self.receive({"close": True}) == {"close": True}
        assert self.receive({"bytes": b"\x00"}, json=False) == {"bytes": b"\x00"}

    def test_nothing_is_none(self) -> None:
        assert WSClient().receive() is None


class AcceptTests(ChannelTestCase):
    def test_the_accept_is_expected_and_taken(self) -> None:
        client = WSClient()
        with apply_routes(route("websocket.connect", accept)):
            client.send_and_consume("websocket.connect")
        assert client.receive() is None

    def test_anything_else_fails(self) -> None:
        expected: list[tuple[dict[str, Any], str]] = [
            ({"accept": False}, "{'accept': False}"),
            ({"close": True}, "{'close': True}"),
            ({"text": "hello"}, "hello"),
        ]
        for reply, shown in expected:

            def consumer(message: Any, reply: dict[str, Any] = reply) -> None:
                message.reply_channel.send(reply)

            client = WSClient()
            with apply_routes(route("websocket.connect", consumer)):
                with pytest.raises(
                    AssertionError, match=re.escape(f"Connection rejected: {shown} != '{{accept: True}}'")
                ):
                    client.send_and_consume("websocket.connect")
                client.send_and_consume("websocket.connect", check_accept=False)
            assert client.receive(json=False) == reply.get("text", reply)

    def test_it_is_a_matter_of_connects_only(self) -> None:
        with apply_routes(route("websocket.receive", lambda message: "returned")):
            assert WSClient().send_and_consume("websocket.receive", text="x") == "returned"


class OrderTests(ChannelTestCase):
    def test_messages_are_numbered(self) -> None:
        client = WSClient(ordered=True)
        assert [sent(client)["order"], sent(client)["order"], client.order] == [0, 1, 2]
        with pytest.raises(ValueError, match="the client numbers the messages"):
            client.send("websocket.receive", {"order": 3})

    def test_a_consumer_that_enforces_order_gets_them_all(self) -> None:
        @enforce_ordering
        def consumer(message: Any) -> None:
            message.reply_channel.send({"text": message["text"]})

        client = WSClient(ordered=True)
        with apply_routes(route("websocket.receive", consumer)):
            for number in range(3):
                client.send_and_consume("websocket.receive", text=number)
        assert [client.receive() for _ in range(4)] == [0, 1, 2, None]

    def test_one_that_the_test_sends_too_early_waits(self) -> None:
        for store in ("connection", "database"):
            with self.subTest(store), override_settings(CHANNEL_SESSION_STORE=store):
                self.check_one_that_comes_too_early()

    def check_one_that_comes_too_early(self) -> None:
        @enforce_ordering
        def consumer(message: Any) -> None:
            message.reply_channel.send({"text": str(message["order"])})

        client = WSClient()
        with apply_routes(route("websocket.receive", consumer)):
            client.send_and_consume("websocket.receive", {"order": 1})
            assert client.receive() is None
            client.send_and_consume("websocket.receive", {"order": 0})
            assert client.receive() == 0
            client.consume("websocket.receive")
        assert client.receive() == 1


class SessionTests(ChannelTestCase):
    def test_the_session_of_the_client_is_the_http_session_of_its_first_message(self) -> None:
        @http_session
        def consumer(message: Any) -> Any:
            return message.http_session and message.http_session.get("language")

        client = WSClient()
        client.session["language"] = "cs"
        client.session.save()
        with apply_routes(route("websocket.receive", consumer)):
            assert client.send_and_consume("websocket.receive") == "cs"
            assert client.send_and_consume("websocket.receive") is None

    def test_it_can_be_changed_between_messages(self) -> None:
        @channel_and_http_session
        def consumer(message: Any) -> None:
            message.reply_channel.send({"accept": True})
            message.reply_channel.send({"text": json.dumps(message.http_session.get("rooms", []))})

        client = WSClient()
        User.objects.create_user(username="ada", password="secret")
        assert client.login(username="ada", password="secret")
        routes = [route("websocket.connect", consumer), route("websocket.receive", consumer)]
        with apply_routes(routes):
            client.send_and_consume("websocket.connect", path="/rooms/")
            assert client.receive() == []
            client.session["rooms"] = ["test", "1"]
            client.session.save()
            client.send_and_consume("websocket.receive", text={"message": "hey"}, path="/rooms/")
        assert client.receive() == {"accept": True}
        assert client.receive() == ["test", "1"]

    def test_the_channel_session_is_there_to_look_at(self) -> None:
        @channel_session
        def consumer(message: Any) -> None:
            message.channel_session["room"] = "kitchen"

        client = WSClient()
        with apply_routes(route("websocket.receive", consumer)):
            client.send_and_consume("websocket.receive")
        assert session_for_reply_channel(client.reply_channel)["room"] == "kitchen"
        assert "room" not in client.session


@channel_session_user_from_http
def connect(message: Any) -> None:
    message.reply_channel.send({"accept": True})
    message.reply_channel.send({"text": json.dumps(message.user.get_username())})


@channel_session_user
def receive(message: Any) -> None:
    message.reply_channel.send({"text": json.dumps(message.user.get_username())})


@apply_routes([route("websocket.connect", connect), route("websocket.receive", receive)])
class UserTests(ChannelTestCase):
    ada: User

    @classmethod
    def setUpTestData(cls) -> None:
        cls.ada = User.objects.create_user(username="ada", password="secret")

    def seen(self, client: WSClient) -> list[str]:
        """Whom the consumers of a connect and of a frame see."""
        client.send_and_consume("websocket.connect")
        first = client.receive()
        client.send_and_consume("websocket.receive", text="x")
        return [first, client.receive()]

    def test_without_a_login_nobody(self) -> None:
        assert self.seen(WSClient()) == ["", ""]

    def test_a_login_holds_for_the_connection(self) -> None:
        client = WSClient()
        assert client.login(username="ada", password="secret")
        assert self.seen(client) == ["ada", "ada"]

    def test_wrong_credentials_and_inactive_users_are_refused(self) -> None:
        assert not WSClient().login(username="ada", password="wrong")
        User.objects.update(is_active=False)
        assert not WSClient().login(username="ada", password="secret")

    def test_a_forced_login_asks_for_nothing(self) -> None:
        client = WSClient()
        client.force_login(self.ada)
        assert self.seen(client) == ["ada", "ada"]

    def test_a_forced_login_takes_a_backend(self) -> None:
        client = WSClient()
        client.force_login(self.ada, backend="django.contrib.auth.backends.ModelBackend")
        assert client.session["_auth_user_backend"] == "django.contrib.auth.backends.ModelBackend"

    def test_after_a_logout_there_is_nobody(self) -> None:
        client = WSClient()
        client.force_login(self.ada)
        client.logout()
        assert self.seen(client) == ["", ""]

    def test_clients_do_not_share_a_user(self) -> None:
        client = WSClient()
        client.force_login(self.ada)
        assert self.seen(WSClient()) == ["", ""]

    def test_an_http_user_is_known_on_the_first_message(self) -> None:
        @http_session_user
        def consumer(message: Any) -> str:
            return str(message.user.get_username())

        client = WSClient()
        client.force_login(self.ada)
        with apply_routes(route("websocket.receive", consumer)):
            assert client.send_and_consume("websocket.receive") == "ada"


class WithoutADatabaseTests(SimpleTestCase):
    """Nothing here may ask the database."""

    def test_consumers_that_ask_for_no_session_need_none(self) -> None:
        with in_memory(["default"]), apply_routes(route("websocket.connect", accept)):
            client = WSClient()
            client.send_and_consume("websocket.connect", path="/chat/")
            assert client.receive() is None  # an accept without more is not shown

    @override_settings(INSTALLED_APPS=["channels"])
    def test_without_djangos_sessions_there_is_no_session_to_have(self) -> None:
        assert WSClient().get_cookies() == {}
        with pytest.raises(OSError, match=r"Add django\.contrib\.sessions"):
            _ = WSClient().session


def captured(layer: Any, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The messages that a live server makes of a handshake and of a request."""
    server = Threaded(ServerPart(layer, "127.0.0.1"))
    port = server.wait_until_ready()
    sent = b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n"
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port)) as one, socket.create_connection(("127.0.0.1", port)) as two:
            one.sendall(sent % (path.encode(), upgrade % base64.b64encode(bytes(16))))
            two.sendall(sent % (path.encode(), b""))
            [delivery] = wait_until(lambda: layer.receive_batch(["websocket.connect"]), "the handshake")
            connect = delivery.message
            # Lest the server wait for a consumer when it stops.
            answer = layer.prepare(connect["reply_channel"], {"accept": False}, {"turn": delivery.headers["turn"]})
            layer.send_batch([answer])
            return connect, wait_until(lambda: layer.receive(["http.request"])[1], "the request")
    finally:
        server.stop()


@pytest.mark.parametrize("path", ["/chat/", "/chat/?name=Ada"])
def test_messages_that_describe_a_connection_have_the_keys_and_types_of_a_live_servers(path: str) -> None:
    def types(message: dict[str, Any]) -> dict[str, Any]:
        return {key: type(value) for key, value in message.items()}

    live = captured(ChannelLayerWrapper(MemoryChannelLayer(), "default", []), path)
    same = ("path", "query_string", "root_path", "scheme", "order", "method", "http_version", "body")
    with override_settings(INSTALLED_APPS=["channels"]), in_memory(["default"]):
        for name, expected in zip(("websocket.connect", "http.request"), live, strict=True):
            client = WSClient()
            client.send(name, path=path)
            found = client.get_next_message(name)
            assert found is not None
            assert types(found.content) == types(expected)
            assert {key: found.get(key) for key in same} == {key: expected.get(key) for key in same}


def test_what_a_test_says_of_a_connection_goes_before_that() -> None:
    with override_settings(INSTALLED_APPS=["channels"]), in_memory(["default"]):
        client = WSClient(ordered=True)
        client.send("websocket.connect", {"scheme": "wss", "client": ["10.0.0.1", 1]})
        message = client.get_next_message("websocket.connect")
        assert message is not None
        assert (message["scheme"], message["client"], message["order"]) == ("wss", ["10.0.0.1", 1], 0)
