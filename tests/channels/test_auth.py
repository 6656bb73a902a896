"""`channels.auth`: who is behind a message."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.conf import settings
from django.contrib import auth
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils.decorators import method_decorator

from channels.auth import (
    channel_and_http_session_user_from_http,
    channel_session_user,
    channel_session_user_from_http,
    http_session_user,
    transfer_user,
)

from .driving import cookie_of, logged_in
from .messages import state_of, websocket

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password="lovelace")


@pytest.fixture
def browser(ada: User) -> SessionStore:
    """The session of a browser in which Ada is logged in."""
    return logged_in(ada)


@http_session_user
def by_http(message: Any) -> Any:
    return message.user


@channel_session_user
def by_channel(message: Any) -> Any:
    return message.user


@channel_session_user_from_http
def connect(message: Any) -> Any:
    return message.user


@channel_and_http_session_user_from_http
def with_both(message: Any) -> Any:
    return message.user


def test_the_browsers_user(layer: Any, ada: User, browser: SessionStore) -> None:
    assert by_http(websocket(layer, headers=cookie_of(browser))) == ada


@pytest.mark.parametrize("consumer", [by_http, by_channel, connect, with_both])
def test_a_stranger_is_anonymous(layer: Any, consumer: Any) -> None:
    user = consumer(websocket(layer))
    assert user == AnonymousUser()
    assert user.is_authenticated is False


@pytest.mark.parametrize("store", ["connection", "database"])
@pytest.mark.parametrize("first", [connect, with_both])
def test_the_user_stays_for_the_connection(
    layer: Any, ada: User, browser: SessionStore, store: str, first: Any
) -> None:
    with override_settings(CHANNEL_SESSION_STORE=store):
        message = websocket(layer, headers=cookie_of(browser))
        assert first(message) == ada
        assert by_channel(websocket(layer, "receive", turn=1, state=message.state)) == ada


def test_both_sessions_know_the_user_on_later_messages_too(layer: Any, ada: User, browser: SessionStore) -> None:
    message = websocket(layer, headers=cookie_of(browser))
    with_both(message)
    assert with_both(websocket(layer, "receive", turn=1, state=message.state)) == ada


def test_a_user_nobody_looks_at_is_not_loaded(layer: Any, ada: User, browser: SessionStore) -> None:
    @channel_session_user
    def does_not_care(message: Any) -> None: ...

    message = websocket(layer, headers=cookie_of(browser))
    connect(message)
    with CaptureQueriesContext(connection) as queries:
        does_not_care(websocket(layer, "receive", turn=1, state=message.state))
    assert queries.captured_queries == []


def test_a_changed_password_ends_it(layer: Any, ada: User, browser: SessionStore) -> None:
    message = websocket(layer, headers=cookie_of(browser))
    connect(message)
    ada.set_password("another")
    ada.save()
    assert by_channel(websocket(layer, "receive", turn=1, state=message.state)).is_authenticated is False


def test_a_forged_state_is_nobody(layer: Any, ada: User) -> None:
    forged = {
        auth.SESSION_KEY: str(ada.pk),
        auth.BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0],
        auth.HASH_SESSION_KEY: "0000",
    }
    state = state_of(**forged)
    assert by_channel(websocket(layer, "receive", turn=1, state=state)).is_authenticated is False


@channel_session_user_from_http
async def async_connect(message: Any) -> Any:
    return message.user


@pytest.mark.parametrize("store", ["connection", "database"])
@pytest.mark.parametrize("consumer", [by_http, connect, with_both, async_connect])
def test_a_secret_key_that_is_rotated_leaves_the_browser_its_session(
    layer: Any, ada: User, browser: SessionStore, consumer: Any, store: str
) -> None:
    rotated = {"SECRET_KEY": "a new one", "SECRET_KEY_FALLBACKS": [settings.SECRET_KEY]}
    before = dict(Session.objects.filter(pk=browser.session_key).values().get())
    with override_settings(**rotated, CHANNEL_SESSION_STORE=store):
        message = websocket(layer, headers=cookie_of(browser))
        user = consumer(message)
        assert (asyncio.run(user) if asyncio.iscoroutine(user) else user) == ada
        if consumer is not by_http:
            assert by_channel(websocket(layer, "receive", turn=1, state=message.state)) == ada
    assert Session.objects.filter(pk=browser.session_key).values().get() == before


@pytest.mark.parametrize("consumer", [by_http, connect, with_both])
def test_a_session_whose_hash_is_wrong_is_nobodys_and_is_left_to_the_views(
    layer: Any, ada: User, browser: SessionStore, consumer: Any
) -> None:
    ada.set_password("another")
    ada.save()
    assert consumer(websocket(layer, headers=cookie_of(browser))) == AnonymousUser()
    assert SessionStore().exists(browser.session_key)


def test_it_works_on_methods(layer: Any, ada: User, browser: SessionStore) -> None:
    class Consumer:
        @method_decorator(http_session_user)
        def connect(self, message: Any) -> Any:
            return message.user

    assert Consumer().connect(websocket(layer, headers=cookie_of(browser))) == ada


def test_a_coroutine_finds_the_user_loaded(layer: Any, ada: User, browser: SessionStore) -> None:
    @channel_session_user_from_http
    async def consumer(message: Any) -> str:
        return str(message.user.username)

    assert asyncio.run(consumer(websocket(layer, headers=cookie_of(browser)))) == "ada"


def test_transfer_copies_all_or_nothing(browser: SessionStore) -> None:
    target: dict[str, Any] = {}
    transfer_user(browser, target)
    assert sorted(target) == sorted([auth.SESSION_KEY, auth.BACKEND_SESSION_KEY, auth.HASH_SESSION_KEY])
    other: dict[str, Any] = {}
    transfer_user({auth.SESSION_KEY: "1"}, other)
    assert other == {}


@pytest.mark.parametrize("consumer", [connect, with_both])
def test_the_name_is_noted_for_operators_once_the_consumer_has_looked_at_the_user(
    layer: Any, browser: SessionStore, consumer: Any
) -> None:
    message = websocket(layer, headers=cookie_of(browser))
    with CaptureQueriesContext(connection) as before:
        consumer(message)
    assert message.user_name is None, "nobody has looked, and a query only for this would be too much"
    assert not [query for query in before if "auth_user" in query["sql"]]

    looked = channel_session_user_from_http(lambda message: str(message.user))
    looked(message)
    assert message.user_name == "ada"


def test_no_name_is_noted_of_a_stranger(layer: Any) -> None:
    message = websocket(layer)
    http_session_user(lambda message: message.user.is_authenticated)(message)
    assert message.user_name is None
