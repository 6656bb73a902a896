"""`channels.sessions`: both stores, functions and methods, sync and async."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from channels.exceptions import ConsumeLater
from channels.sessions import (
    channel_and_http_session,
    channel_session,
    http_session,
    session_for_reply_channel,
)

from .messages import REPLY, state_of, websocket

pytestmark = pytest.mark.usefixtures("database")


@channel_session
def remember(message: Any, **values: Any) -> str:
    message.channel_session.update(values)
    return "returned"


@channel_session
def recall(message: Any) -> dict[str, Any]:
    return dict(message.channel_session.items())


@pytest.fixture
def browser() -> SessionStore:
    """A session that a browser has."""
    session = SessionStore()
    session["language"] = "cs"
    session.save()
    return session


def cookie(session: SessionStore) -> dict[str, str]:
    return {"cookie": f"other=1; {settings.SESSION_COOKIE_NAME}={session.session_key}"}


class TestOnTheConnection:
    def test_what_is_put_in_is_in_the_state_and_comes_back(self, layer: Any) -> None:
        first = websocket(layer)
        assert remember(first, name="Ada") == "returned"
        assert first.state == state_of(name="Ada")
        assert recall(websocket(layer, "receive", turn=1, state=first.state)) == {"name": "Ada"}

    def test_it_asks_the_database_for_nothing(self, layer: Any) -> None:
        with CaptureQueriesContext(connection) as queries:
            message = websocket(layer)
            remember(message, name="Ada")
            recall(websocket(layer, "receive", turn=1, state=message.state))
        assert queries.captured_queries == []

    def test_a_session_nobody_changed_leaves_the_state_alone(self, layer: Any) -> None:
        message = websocket(layer, "receive", turn=1, state=state_of(a=1))
        recall(message)
        assert message.state == state_of(a=1)
        untouched = websocket(layer)
        recall(untouched)
        assert untouched.state is None

    def test_it_is_saved_also_if_the_consumer_raises(self, layer: Any) -> None:
        @channel_session
        def fails(message: Any) -> None:
            message.channel_session["tried"] = True
            raise RuntimeError

        message = websocket(layer)
        with pytest.raises(RuntimeError):
            fails(message)
        assert message.state == state_of(tried=True)

    def test_deleting_and_clearing_reach_the_state(self, layer: Any) -> None:
        @channel_session
        def forget(message: Any) -> None:
            del message.channel_session["a"]

        @channel_session
        def flush(message: Any) -> None:
            message.channel_session.flush()

        message = websocket(layer, "receive", turn=1, state=state_of(a=1, b=2))
        forget(message)
        assert message.state == state_of(b=2)
        again = websocket(layer, "receive", turn=2, state=message.state)
        flush(again)
        assert again.state == state_of()

    def test_nested_decorators_share_one_session(self, layer: Any) -> None:
        @channel_session
        @channel_session
        def twice(message: Any) -> None:
            message.channel_session["a"] = 1

        message = websocket(layer)
        twice(message)
        assert message.state == state_of(a=1)


class TestInTheDatabase:
    @pytest.fixture(params=["by setting", "no turns"])
    def turn(self, request: pytest.FixtureRequest) -> Iterator[int | None]:
        """Why it is the database: the setting says so, or the sender carries no state."""
        with override_settings(CHANNEL_SESSION_STORE="database" if request.param == "by setting" else "connection"):
            yield 0 if request.param == "by setting" else None

    def test_what_is_put_in_comes_back(self, layer: Any, turn: int | None) -> None:
        message = websocket(layer, turn=turn)
        remember(message, name="Ada")
        assert message.state is None
        assert recall(websocket(layer, "receive", turn=turn)) == {"name": "Ada"}

    def test_sessions_belong_to_their_reply_channel(self, layer: Any, turn: int | None) -> None:
        remember(websocket(layer, turn=turn), name="Ada")
        assert recall(websocket(layer, "receive", turn=turn, reply_channel="daphne.test!other")) == {}

    def test_it_exists_from_the_first_message_on(self, layer: Any, turn: int | None) -> None:
        recall(websocket(layer, turn=turn))
        assert Session.objects.filter(pk=session_for_reply_channel(REPLY).session_key).exists()

    def test_it_is_saved_also_if_the_consumer_raises(self, layer: Any, turn: int | None) -> None:
        @channel_session
        def fails(message: Any) -> None:
            message.channel_session["tried"] = True
            raise RuntimeError

        with pytest.raises(RuntimeError):
            fails(websocket(layer, turn=turn))
        assert recall(websocket(layer, "receive", turn=turn)) == {"tried": True}

    def test_one_deleted_while_the_consumer_ran_is_tried_again_anew(self, layer: Any, turn: int | None) -> None:
        @channel_session
        def interrupted(message: Any) -> None:
            message.channel_session["a"] = 1
            Session.objects.all().delete()

        with pytest.raises(ConsumeLater):
            interrupted(websocket(layer, turn=turn))
        remember(websocket(layer, turn=turn), a=2)
        assert recall(websocket(layer, "receive", turn=turn)) == {"a": 2}

    def test_two_that_create_it_at_once_do_not_both_go_on(
        self, layer: Any, turn: int | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        remember(websocket(layer, turn=turn), a=1)
        monkeypatch.setattr(SessionStore, "exists", lambda self, key: False)
        with pytest.raises(ConsumeLater):
            recall(websocket(layer, turn=turn))

    def test_one_that_the_consumer_flushed_is_gone(self, layer: Any, turn: int | None) -> None:
        @channel_session
        def flush(message: Any) -> None:
            message.channel_session.flush()

        remember(websocket(layer, turn=turn), a=1)
        flush(websocket(layer, "receive", turn=turn))
        assert not Session.objects.exists()
        assert recall(websocket(layer, "receive", turn=turn)) == {}


class TestTheDecorator:
    def test_a_message_without_a_reply_channel_is_refused(self, layer: Any) -> None:
        with pytest.raises(ValueError, match="has no reply_channel"):
            recall(websocket(layer, reply_channel=None))

    def test_the_message_may_be_given_by_name(self, layer: Any) -> None:
        message = websocket(layer)
        remember(message=message, a=1)
        assert message.state == state_of(a=1)

    @pytest.mark.parametrize("turn", [0, None])
    def test_it_works_on_coroutines(self, layer: Any, turn: int | None) -> None:
        @channel_session
        async def later(message: Any, word: str) -> str:
            message.channel_session["word"] = word
            await asyncio.sleep(0)
            return "done"

        message = websocket(layer, turn=turn)
        assert asyncio.run(later(message, word="x")) == "done"
        assert recall(websocket(layer, "receive", turn=turn, state=message.state)) == {"word": "x"}


class TestHttpSession:
    def test_it_is_found_by_its_cookie(self, layer: Any, browser: SessionStore) -> None:
        @http_session
        def consumer(message: Any) -> Any:
            return message.http_session["language"]

        assert consumer(websocket(layer, headers=cookie(browser))) == "cs"

    def test_without_a_key_it_is_none(self, layer: Any) -> None:
        @http_session
        def consumer(message: Any) -> Any:
            return message.http_session

        assert consumer(websocket(layer)) is None
        assert consumer(websocket(layer, "receive")) is None

    def test_changes_are_saved_if_all_went_well(self, layer: Any, browser: SessionStore) -> None:
        @http_session
        def change(message: Any, fail: bool) -> None:
            message.http_session["language"] = "fr" if fail else "de"
            if fail:
                raise RuntimeError

        change(websocket(layer, headers=cookie(browser)), fail=False)
        with pytest.raises(RuntimeError):
            change(websocket(layer, headers=cookie(browser)), fail=True)
        assert SessionStore(browser.session_key)["language"] == "de"

    def test_one_that_was_deleted_meanwhile_is_an_error(self, layer: Any, browser: SessionStore) -> None:
        @http_session
        def change(message: Any) -> None:
            message.http_session["language"] = "de"
            Session.objects.all().delete()

        with pytest.raises(UpdateError):
            change(websocket(layer, headers=cookie(browser)))

    @pytest.mark.parametrize("engine", ["db", "cached_db", "cache", "signed_cookies"])
    @pytest.mark.parametrize("key", ["madeupmadeupmadeupmadeupmadeup12", "x"])
    def test_a_made_up_key_makes_no_session(self, layer: Any, engine: str, key: str) -> None:
        @channel_and_http_session
        def change(message: Any, explicitly: bool) -> dict[str, Any]:
            message.http_session["language"] = "de"
            if explicitly:
                message.http_session.save()
                message.http_session.cycle_key()
            return dict(message.http_session.items())

        caches["default"].clear()
        with override_settings(SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}"):
            for explicitly in (False, True):
                first = websocket(layer, headers={"cookie": f"{settings.SESSION_COOKIE_NAME}={key}"})
                assert change(first, explicitly) == {"language": "de"}
                if key != "x":  # of which Django knows at once that it is none
                    later = websocket(layer, "receive", turn=1, state=first.state)
                    assert change(later, explicitly) == {"language": "de"}
        assert not Session.objects.exists()
        assert not caches["default"]._cache  # type: ignore[attr-defined]

    def test_one_that_a_view_has_ended_is_not_made_again(self, layer: Any, browser: SessionStore) -> None:
        @channel_and_http_session
        async def change(message: Any) -> None:
            message.http_session["language"] = "de"

        first = websocket(layer, headers=cookie(browser))
        asyncio.run(change(first))
        assert SessionStore(browser.session_key)["language"] == "de"
        browser.flush()
        for turn in (1, 2):
            asyncio.run(change(websocket(layer, "receive", turn=turn, state=first.state)))
        assert not Session.objects.exists()

    def test_its_key_is_kept_whatever_a_consumer_does(self, layer: Any, browser: SessionStore) -> None:
        @http_session
        def login(message: Any) -> None:
            message.http_session.cycle_key()
            message.http_session["language"] = "de"

        login(websocket(layer, headers=cookie(browser)))
        assert SessionStore(browser.session_key)["language"] == "de"

    def test_it_leaves_the_message_as_it_is(self, layer: Any) -> None:
        @http_session
        def consumer(message: Any) -> None: ...

        message = websocket(layer)
        before = dict(message.content)
        consumer(message)
        assert message.content == before

    @pytest.mark.parametrize("turn", [0, None])
    def test_both_sessions_last_for_the_connection(self, layer: Any, browser: SessionStore, turn: int | None) -> None:
        @channel_and_http_session
        def consumer(message: Any) -> Any:
            return message.http_session["language"]

        first = websocket(layer, headers=cookie(browser), turn=turn)
        assert consumer(first) == "cs"
        assert consumer(websocket(layer, "receive", turn=turn and turn + 1, state=first.state)) == "cs"

    def test_it_can_be_used_in_a_coroutine(self, layer: Any, browser: SessionStore) -> None:
        @http_session
        async def consumer(message: Any) -> Any:
            return message.http_session["language"]

        assert asyncio.run(consumer(websocket(layer, headers=cookie(browser)))) == "cs"


def test_a_session_that_cannot_be_saved_does_not_hide_why_the_consumer_failed(
    layer: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("channels.connection_session.MAX_BYTES", 10)

    @channel_session
    def consumer(message: Any) -> None:
        message.channel_session["text"] = "x" * 100
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consumer(websocket(layer))
    assert "could not be saved" in caplog.text
