"""`channels.connection_session`: a session in a message's state. How consumers get it is in `test_sessions`."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from django.contrib.sessions.serializers import JSONSerializer
from django.test import override_settings

from channel_layer.state import size_of
from channels.connection_session import MAX_BYTES, ConnectionSession
from channels.exceptions import SessionTooLarge

from .messages import REPLY, state_of, websocket


def session(layer: Any, state: Any = None) -> tuple[Any, ConnectionSession]:
    message = websocket(layer, "receive", turn=1, state=state)
    return message, ConnectionSession(message, "chn123456", REPLY)


def test_it_is_read_from_the_state_and_saved_into_it(layer: Any) -> None:
    message, first = session(layer, state_of(a=1))
    assert first["a"] == 1
    assert not first.modified
    first["b"] = "two"
    assert first.modified
    assert message.state == state_of(a=1)
    first.save()
    assert message.state == state_of(a=1, b="two")


def test_exactly_the_limit_fits_and_one_byte_more_does_not(layer: Any) -> None:
    message, first = session(layer)
    first["a"] = "x" * (MAX_BYTES - len('a{"a":""}'))
    first.save()
    assert size_of(message.state) == MAX_BYTES
    first["a"] += "x"
    with pytest.raises(SessionTooLarge) as caught:
        first.save()
    assert str(caught.value).startswith("the channel session has 16385 bytes, its connection carries 16384.")
    assert size_of(message.state) == MAX_BYTES


@pytest.mark.parametrize("state", [{"a": b"not json"}, {"a": b"\xff\xfe"}, {"a": b"[1]"}, {"a": 3}, b"junk", [1]])
def test_a_state_that_cannot_be_read_starts_empty_and_is_logged(
    layer: Any, state: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    _, first = session(layer, state)
    assert list(first.keys()) == []
    assert "the channel session of daphne.test!connection cannot be read; it starts empty" in caplog.text


@pytest.mark.parametrize("state", [{}, None])
def test_a_state_that_holds_no_session_starts_empty(layer: Any, state: Any) -> None:
    assert list(session(layer, state)[1].keys()) == []


def test_it_exists_for_its_own_key_only(layer: Any) -> None:
    _, first = session(layer)
    assert first.exists("chn123456")
    assert not first.exists("another")


def test_its_key_is_the_connections_whatever_is_done_to_it(layer: Any) -> None:
    message, first = session(layer, state_of(a=1))
    first.cycle_key()
    assert (first.session_key, first["a"]) == ("chn123456", 1)
    first.flush()
    assert (first.session_key, message.state) == ("chn123456", {})
    first["b"] = 2
    first.create()
    assert (first.session_key, message.state) == ("chn123456", {})


def test_deleting_another_key_leaves_it_alone(layer: Any) -> None:
    message, first = session(layer, state_of(a=1))
    first.delete("another")
    assert first["a"] == 1
    first.delete("chn123456")
    assert message.state == {}


def test_it_is_encoded_with_the_serializer_of_the_settings(layer: Any) -> None:
    with override_settings(SESSION_SERIALIZER="tests.channels.test_connection_session.Upper"):
        message, first = session(layer)
        first["a"] = "b"
        first.save()
        assert message.state == {"a": b'{"A": "B"}'}


class Upper:
    """A serializer that leaves its mark."""

    def dumps(self, content: Any) -> bytes:
        return json.dumps(content).upper().encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)


def test_reading_it_is_one_call_however_many_keys_it_has(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bytes] = []
    loads = JSONSerializer.loads
    monkeypatch.setattr(JSONSerializer, "loads", lambda self, data: [calls.append(data), loads(self, data)][1])
    content = {"a": 1, "b": 'two, "}{" and ü', "c": [1, {"d": None}], "d": {}}
    assert dict(session(layer, state_of(**content))[1]) == content
    assert len(calls) == 1


def test_values_that_cannot_have_changed_are_not_encoded_again(layer: Any) -> None:
    with override_settings(SESSION_SERIALIZER="tests.channels.test_connection_session.Upper"):
        state = state_of(a=1, b="two", c=None, d=[1], e=1)
        message, first = session(layer, state)
        first["d"].append(2)
        first["e"] = True
        first["b"] = "three"
        first.save()
        assert message.state == {**state, "b": b'{"B": "THREE"}', "d": b'{"D": [1, 2]}', "e": b'{"E": TRUE}'}


def test_what_is_saved_twice_is_right_both_times(layer: Any) -> None:
    message, first = session(layer, state_of(a=1, b="two"))
    first["a"] = 2
    first.save()
    first["a"] = 1
    first.save()
    assert message.state == state_of(a=1, b="two")
    first.flush()
    first["a"] = 1
    first.save()
    assert message.state == state_of(a=1)


def test_a_key_that_is_deleted_is_gone_from_the_state(layer: Any) -> None:
    message, first = session(layer, state_of(a=1, b=2))
    del first["a"]
    first.save()
    assert message.state == state_of(b=2)


def test_its_async_forms_do_the_same(layer: Any) -> None:
    async def use(first: ConnectionSession) -> None:
        assert await first.aload() == {"a": 1}
        assert await first.aexists("chn123456")
        await first.acycle_key()
        first["b"] = 2
        await first.asave()
        assert message.state == state_of(a=1, b=2)
        await first.acreate()
        first["c"] = 3
        await first.aflush()
        await first.adelete("another")

    message, first = session(layer, state_of(a=1))
    asyncio.run(use(first))
    assert (first.session_key, message.state) == ("chn123456", {})
