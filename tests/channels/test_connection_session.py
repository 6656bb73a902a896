"""`channels.connection_session`: a session in a message's state. How consumers get it is in `test_sessions`."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.test import override_settings

from channels.connection_session import MAX_BYTES, ConnectionSession
from channels.exceptions import SessionTooLarge

from .messages import websocket


def session(layer: Any, state: bytes | None = None) -> tuple[Any, ConnectionSession]:
    message = websocket(layer, "receive", turn=1, state=state)
    return message, ConnectionSession(message, "chn123456")


def test_it_is_read_from_the_state_and_saved_into_it(layer: Any) -> None:
    message, first = session(layer, b'{"a": 1}')
    assert first["a"] == 1
    assert not first.modified
    first["b"] = "two"
    assert first.modified
    assert message.state == b'{"a": 1}'
    first.save()
    assert json.loads(message.state) == {"a": 1, "b": "two"}


def test_exactly_the_limit_fits_and_one_byte_more_does_not(layer: Any) -> None:
    message, first = session(layer)
    first["a"] = "x" * (MAX_BYTES - len('{"a":""}'))
    first.save()
    assert len(message.state) == MAX_BYTES
    first["a"] += "x"
    with pytest.raises(SessionTooLarge) as caught:
        first.save()
    assert str(caught.value).startswith("the channel session has 16385 bytes, its connection carries 16384.")
    assert len(message.state) == MAX_BYTES


@pytest.mark.parametrize("state", [b"not json", b"\xff\xfe"])
def test_a_state_that_cannot_be_read_starts_empty_and_is_logged(
    layer: Any, state: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    _, first = session(layer, state)
    assert list(first.keys()) == []
    assert "the channel session of daphne.test!connection cannot be read; it starts empty" in caplog.text


@pytest.mark.parametrize("state", [b"[1]", b"3", b"", None])
def test_a_state_that_holds_no_session_starts_empty(layer: Any, state: bytes | None) -> None:
    assert list(session(layer, state)[1].keys()) == []


def test_it_exists_for_its_own_key_only(layer: Any) -> None:
    _, first = session(layer)
    assert first.exists("chn123456")
    assert not first.exists("another")


def test_its_key_is_the_connections_whatever_is_done_to_it(layer: Any) -> None:
    message, first = session(layer, b'{"a": 1}')
    first.cycle_key()
    assert (first.session_key, first["a"]) == ("chn123456", 1)
    first.flush()
    assert (first.session_key, json.loads(message.state)) == ("chn123456", {})
    first["b"] = 2
    first.create()
    assert (first.session_key, json.loads(message.state)) == ("chn123456", {})


def test_deleting_another_key_leaves_it_alone(layer: Any) -> None:
    message, first = session(layer, b'{"a": 1}')
    first.delete("another")
    assert first["a"] == 1
    first.delete("chn123456")
    assert json.loads(message.state) == {}


def test_it_is_encoded_with_the_serializer_of_the_settings(layer: Any) -> None:
    with override_settings(SESSION_SERIALIZER="tests.channels.test_connection_session.Upper"):
        message, first = session(layer)
        first["a"] = "b"
        first.save()
        assert message.state == b'{"A": "B"}'


class Upper:
    """A serializer that leaves its mark."""

    def dumps(self, content: Any) -> bytes:
        return json.dumps(content).upper().encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)
