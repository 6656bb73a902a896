"""`channels.sessions`: both stores, functions and methods, sync and async."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils.decorators import method_decorator

from channels.connection_session import MAX_BYTES, ConnectionSession
from channels.exceptions import ConsumeLater, SessionTooLarge
from channels.sessions import (
    channel_and_http_session,
    channel_session,
    enforce_ordering,
    http_session,
    session_for_reply_channel,
)
from routing import Router, RoutingError, route

from .messages import REPLY, websocket

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
        assert json.loads(first.state) == {"name": "Ada"}
        assert recall(websocket(layer, "receive", turn=1, state=first.state)) == {"name": "Ada"}

    def test_it_asks_the_database_for_nothing(self, layer: Any) -> None:
        with CaptureQueriesContext(connection) as queries:
            message = websocket(layer)
            remember(message, name="Ada")
            recall(websocket(layer, "receive", turn=1, state=message.state))
        assert queries.captured_queries == []

    def test_a_session_nobody_changed_leaves_the_state_alone(self, layer: Any) -> None:
        message = websocket(layer, "receive", turn=1, state=b'{"a": 1}')
        recall(message)
        assert message.state == b'{"a": 1}'
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
        assert json.loads(message.state) == {"tried": True}

    def test_deleting_and_clearing_reach_the_state(self, layer: Any) -> None:
        @channel_session
        def forget(message: Any) -> None:
            del message.channel_session["a"]

        @channel_session
        def flush(message: Any) -> None:
            message.channel_session.flush()

        message = websocket(layer, "receive", turn=1, state=b'{"a": 1, "b": 2}')
        forget(message)
        assert json.loads(message.state) == {"b": 2}
        again = websocket(layer, "receive", turn=2, state=message.state)
        flush(again)
        assert json.loads(again.state) == {}

    def test_exactly_the_limit_fits_and_one_byte_more_does_not(self, layer: Any) -> None:
        room = MAX_BYTES - len('{"a":""}')
        message = websocket(layer)
        remember(message, a="x" * room)
        assert len(message.state) == MAX_BYTES
        with pytest.raises(SessionTooLarge) as caught:
            remember(websocket(layer), a="x" * (room + 1))
        assert str(caught.value).startswith("the channel session has 16385 bytes, its connection carries 16384.")

    @pytest.mark.parametrize("state", [b"not json", b"\xff\xfe", b"[1]", b"3"])
    def test_a_state_that_cannot_be_read_starts_empty(self, layer: Any, state: bytes) -> None:
        assert recall(websocket(layer, "receive", turn=1, state=state)) == {}

    def test_the_key_stays_the_connections(self, layer: Any) -> None:
        session = session_for_reply_channel(REPLY)
        message = websocket(layer)
        remember(message, a=1)
        assert message.channel_session.session_key == session.session_key
        message.channel_session.cycle_key()
        message.channel_session.flush()
        assert message.channel_session.session_key == session.session_key

    def test_nested_decorators_share_one_session(self, layer: Any) -> None:
        @channel_session
        @channel_session
        def twice(message: Any) -> None:
            message.channel_session["a"] = 1

        message = websocket(layer)
        twice(message)
        assert json.loads(message.state) == {"a": 1}


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

    def test_calling_without_a_message_is_refused(self) -> None:
        with pytest.raises(ValueError, match="@channel_session was called without a message"):
            recall("text")

    def test_the_message_may_be_given_by_name(self, layer: Any) -> None:
        message = websocket(layer)
        remember(message=message, a=1)
        assert json.loads(message.state) == {"a": 1}

    def test_it_works_on_methods_directly_and_through_method_decorator(self, layer: Any) -> None:
        class Consumer:
            @channel_session
            def direct(self, message: Any) -> None:
                message.channel_session["a"] = 1

            @method_decorator(channel_session)
            def adapted(self, message: Any) -> None:
                message.channel_session["b"] = 2

        first, second = websocket(layer), websocket(layer)
        Consumer().direct(first)
        Consumer().adapted(second)
        assert (json.loads(first.state), json.loads(second.state)) == ({"a": 1}, {"b": 2})

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

    def test_an_error_of_a_coroutine_passes_through(self, layer: Any) -> None:
        @channel_session
        async def fails(message: Any) -> None:
            message.channel_session["tried"] = True
            raise RuntimeError("mine")

        message = websocket(layer)
        with pytest.raises(RuntimeError, match="mine"):
            asyncio.run(fails(message))
        assert json.loads(message.state) == {"tried": True}

    def test_the_router_sees_what_the_consumer_takes(self) -> None:
        @channel_session
        def needs_a_room(message: Any, room: str) -> None: ...

        with pytest.raises(RoutingError, match="missing a required argument: 'room'"):
            Router([route("a", needs_a_room)])

    def test_signed_cookies_cannot_keep_channel_sessions(self) -> None:
        with (
            override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"),
            pytest.raises(ValueError, match="set CHANNEL_SESSION_ENGINE"),
        ):
            session_for_reply_channel(REPLY)

    def test_channel_sessions_may_have_an_engine_of_their_own(self) -> None:
        with override_settings(
            SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
            CHANNEL_SESSION_ENGINE="django.contrib.sessions.backends.cache",
        ):
            assert type(session_for_reply_channel(REPLY)).__module__.endswith("backends.cache")

    def test_an_unknown_store_is_refused(self, layer: Any) -> None:
        with (
            override_settings(CHANNEL_SESSION_STORE="memcached"),
            pytest.raises(ImproperlyConfigured, match="must be 'connection' or 'database', not 'memcached'"),
        ):
            recall(websocket(layer))


class TestHttpSession:
    def test_it_is_found_by_its_cookie(self, layer: Any, browser: SessionStore) -> None:
        @http_session
        def consumer(message: Any) -> Any:
            return message.http_session["language"]

        assert consumer(websocket(layer, headers=cookie(browser))) == "cs"

    def test_the_query_string_comes_first(self, layer: Any, browser: SessionStore) -> None:
        @http_session
        def consumer(message: Any) -> Any:
            return message.http_session.session_key

        headers = {"cookie": f"{settings.SESSION_COOKIE_NAME}=somebody-elses-key"}
        query = f"a=b&session_key={browser.session_key}"
        assert consumer(websocket(layer, query=query, headers=headers)) == browser.session_key

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

    def test_it_leaves_the_message_as_it_is(self, layer: Any) -> None:
        @http_session
        def consumer(message: Any) -> None: ...

        message = websocket(layer)
        before = dict(message.content)
        consumer(message)
        assert message.content == before

    def test_a_message_of_another_kind_is_refused(self, layer: Any) -> None:
        @http_session
        def consumer(message: Any) -> None: ...

        message = websocket(layer)
        del message.content["path"]
        with pytest.raises(ValueError, match="has no path"):
            consumer(message)

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


class TestOrder:
    def consumer(self) -> tuple[Any, list[int]]:
        seen: list[int] = []

        @enforce_ordering
        def consumer(message: Any) -> None:
            seen.append(message["order"])

        return consumer, seen

    def test_with_turns_it_runs_whatever_comes(self, layer: Any) -> None:
        consumer, seen = self.consumer()
        with CaptureQueriesContext(connection) as queries:
            consumer(websocket(layer, "receive", turn=7))
        assert (seen, queries.captured_queries) == ([7], [])

    def test_without_turns_messages_wait_for_those_before_them(self, layer: Any) -> None:
        consumer, seen = self.consumer()
        for order in (2, 1):
            consumer(websocket(layer, "receive", turn=None, order=order))
        assert seen == []
        consumer(websocket(layer, "connect", turn=None, order=0))
        for _ in range(6):
            name, content = layer.receive(["websocket.receive"])
            if name is not None:
                consumer(websocket(layer, "receive", turn=None, **content))
        assert seen == [0, 1, 2]
        assert layer.receive(["websocket.receive"]) == (None, None)

    @pytest.mark.parametrize("turn", [0, None])
    def test_it_works_on_coroutines(self, layer: Any, turn: int | None) -> None:
        seen = []

        @enforce_ordering
        async def later(message: Any) -> None:
            await asyncio.sleep(0)
            message.channel_session["seen"] = True
            seen.append(message["order"])

        first = websocket(layer, turn=turn)
        asyncio.run(later(first))
        assert recall(websocket(layer, "receive", turn=turn, state=first.state))["seen"] is True
        asyncio.run(later(websocket(layer, "receive", turn=turn and 1, order=1, state=first.state)))
        assert seen == [0, 1]

    def test_a_message_that_waited_is_what_it_was(self, layer: Any) -> None:
        consumer, _ = self.consumer()
        consumer(websocket(layer, "receive", turn=None, order=1, text="hello"))
        consumer(websocket(layer, "connect", turn=None, order=0))
        _, content = layer.receive(["websocket.receive"])
        assert content == {"reply_channel": REPLY, "path": "/chat/", "order": 1, "text": "hello"}

    def test_a_message_without_an_order_is_refused(self, layer: Any) -> None:
        consumer, _ = self.consumer()
        message = websocket(layer, "receive", turn=None)
        del message.content["order"]
        with pytest.raises(ValueError, match="has no 'order'"):
            consumer(message)

    def test_it_may_be_written_with_parentheses(self, layer: Any) -> None:
        @enforce_ordering()
        def bare(message: Any) -> str:
            return message.channel_session.session_key[:3]

        assert bare(websocket(layer)) == "chn"

    def test_slight_order_is_gone(self) -> None:
        with pytest.raises(ValueError, match="no longer exists"):
            enforce_ordering(slight=True)


def test_a_session_does_no_io_of_its_own(layer: Any) -> None:
    session = ConnectionSession(websocket(layer), "chn123456")
    session["a"] = 1
    session.save()
    assert session.exists("chn123456")
    assert not session.exists("another")
    session.create()
    assert dict(session.items()) == {}
