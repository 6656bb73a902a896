"""`channels.session_stores`: which session a message has."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from channels.connection_session import ConnectionSession
from channels.session_stores import (
    http_session_key,
    open_channel_session,
    open_http_session,
    session_for_reply_channel,
    session_key_for,
    uses_connections,
)

from .messages import REPLY, websocket

pytestmark = pytest.mark.usefixtures("database")


def test_the_connection_is_the_default_store() -> None:
    assert uses_connections()
    with override_settings(CHANNEL_SESSION_STORE="database"):
        assert not uses_connections()


def test_an_unknown_store_is_refused() -> None:
    with (
        override_settings(CHANNEL_SESSION_STORE="memcached"),
        pytest.raises(ImproperlyConfigured, match="must be 'connection' or 'database', not 'memcached'"),
    ):
        uses_connections()


@pytest.mark.parametrize(
    ("store", "turn", "kind"),
    [("connection", 0, ConnectionSession), ("connection", None, SessionStore), ("database", 0, SessionStore)],
)
def test_the_setting_and_the_sender_decide(layer: Any, store: str, turn: int | None, kind: type) -> None:
    with override_settings(CHANNEL_SESSION_STORE=store):
        session = open_channel_session(websocket(layer, turn=turn))
    assert type(session) is kind
    assert session.session_key == session_key_for(REPLY)


def test_keys_are_those_of_channels_1() -> None:
    assert session_key_for("daphne.response.x!y") == "chndad4d716436f55db6d3fc592cdfc9"
    assert len(session_key_for("x" * 200)) == 32


def test_a_session_that_does_not_exist_yet_has_its_key() -> None:
    session = session_for_reply_channel(REPLY)
    assert session.session_key == session_key_for(REPLY)
    assert not session.exists(session.session_key)


def test_signed_cookies_cannot_keep_channel_sessions() -> None:
    with (
        override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"),
        pytest.raises(ValueError, match="set CHANNEL_SESSION_ENGINE"),
    ):
        session_for_reply_channel(REPLY)


def test_channel_sessions_may_have_an_engine_of_their_own() -> None:
    with override_settings(
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        CHANNEL_SESSION_ENGINE="django.contrib.sessions.backends.cache",
    ):
        assert type(session_for_reply_channel(REPLY)).__module__.endswith("backends.cache")


class TestHttpSessionKey:
    def key(self, layer: Any, **content: Any) -> str | None:
        return http_session_key(websocket(layer, **content))

    def test_it_is_in_the_cookie(self, layer: Any) -> None:
        cookie = f"a=1; {settings.SESSION_COOKIE_NAME}=abc; b=2"
        assert self.key(layer, headers={"cookie": cookie}) == "abc"

    def test_the_headers_may_be_a_dict(self, layer: Any) -> None:
        message = websocket(layer)
        message.content["headers"] = {"cookie": f"{settings.SESSION_COOKIE_NAME}=abc"}
        assert http_session_key(message) == "abc"

    def test_the_query_string_comes_first(self, layer: Any) -> None:
        headers = {"cookie": f"{settings.SESSION_COOKIE_NAME}=abc"}
        assert self.key(layer, headers=headers, query="x=1&session_key=def") == "def"
        assert self.key(layer, headers=headers, query="x=1") == "abc"

    def test_an_empty_one_in_the_query_string_is_no_session(self, layer: Any) -> None:
        key = self.key(layer, headers={"cookie": f"{settings.SESSION_COOKIE_NAME}=abc"}, query="session_key=")
        assert open_http_session(key) is None

    def test_the_cookie_has_the_name_the_settings_give_it(self, layer: Any) -> None:
        with override_settings(SESSION_COOKIE_NAME="mine"):
            assert self.key(layer, headers={"cookie": "sessionid=abc; mine=def"}) == "def"

    def test_there_may_be_none(self, layer: Any) -> None:
        assert self.key(layer) is None
        assert http_session_key(websocket(layer, "receive")) is None

    def test_bytes_that_are_no_text_break_nothing(self, layer: Any) -> None:
        message = websocket(layer)
        message.content["headers"] = [[b"cookie", b"\xff=\xfe; x"]]
        message.content["query_string"] = b"\xff&session_key=%ff"
        assert http_session_key(message) == "\ufffd"

    def test_a_message_of_another_kind_is_refused(self, layer: Any) -> None:
        message = websocket(layer)
        del message.content["path"]
        with pytest.raises(ValueError, match="has no path; an HTTP session belongs to a request or a WebSocket"):
            http_session_key(message)
