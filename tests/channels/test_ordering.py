"""`channels.ordering`: `enforce_ordering`, where connections take turns and where they do not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from channel_layer.delivery import LAST_ORDER
from channel_layer.exceptions import ChannelFull
from channels.sessions import channel_session, enforce_ordering

from .messages import REPLY, websocket

pytestmark = pytest.mark.usefixtures("database")


@channel_session
def recall(message: Any) -> dict[str, Any]:
    return dict(message.channel_session.items())


def ordered() -> tuple[Any, list[int]]:
    """A consumer, and the numbers of the messages it has seen."""
    seen: list[int] = []

    @enforce_ordering
    def consumer(message: Any) -> None:
        seen.append(message["order"])

    return consumer, seen


def test_with_turns_it_runs_whatever_comes(layer: Any) -> None:
    consumer, seen = ordered()
    with CaptureQueriesContext(connection) as queries:
        consumer(websocket(layer, "receive", turn=7))
    assert (seen, queries.captured_queries) == ([7], [])


def test_without_turns_messages_wait_for_those_before_them(layer: Any) -> None:
    consumer, seen = ordered()
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


def test_without_turns_the_end_of_a_socket_whose_server_was_killed_waits_for_nothing(layer: Any) -> None:
    consumer, seen = ordered()
    consumer(websocket(layer, "connect", turn=None, order=0))
    consumer(websocket(layer, "disconnect", turn=None, order=LAST_ORDER))
    assert seen == [0, LAST_ORDER]


@pytest.mark.parametrize("turn", [0, None])
def test_it_works_on_coroutines(layer: Any, turn: int | None) -> None:
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


def test_a_message_that_waited_is_what_it_was(layer: Any) -> None:
    consumer, _ = ordered()
    consumer(websocket(layer, "receive", turn=None, order=1, text="hello"))
    consumer(websocket(layer, "connect", turn=None, order=0))
    _, content = layer.receive(["websocket.receive"])
    assert content == {"reply_channel": REPLY, "path": "/chat/", "order": 1, "text": "hello"}


def test_a_message_without_an_order_is_refused(layer: Any) -> None:
    consumer, _ = ordered()
    message = websocket(layer, "receive", turn=None)
    del message.content["order"]
    with pytest.raises(ValueError, match="has no 'order'"):
        consumer(message)


def test_it_may_be_written_with_parentheses(layer: Any) -> None:
    @enforce_ordering()
    def bare(message: Any) -> str:
        return message.channel_session.session_key[:3]

    assert bare(websocket(layer)) == "chn"


def test_slight_order_is_gone() -> None:
    with pytest.raises(ValueError, match="no longer exists"):
        enforce_ordering(slight=True)


def test_one_that_raises_does_not_let_the_next_pass(layer: Any) -> None:
    fails = [True]
    seen: list[int] = []

    @enforce_ordering
    def consumer(message: Any) -> None:
        if fails:
            raise RuntimeError
        seen.append(message["order"])

    with pytest.raises(RuntimeError):
        consumer(websocket(layer, turn=None, order=0))
    fails.clear()
    consumer(websocket(layer, "receive", turn=None, order=1))
    assert seen == []
    consumer(websocket(layer, turn=None, order=0))
    assert seen == [0]
    assert layer.receive(["websocket.receive"])[1]["order"] == 1


def test_one_whose_number_comes_up_while_it_is_put_away_is_not_left_there(
    layer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, seen = ordered()
    put = layer.send_batch

    def first_comes_in_between(items: Any) -> Any:
        monkeypatch.setattr(layer, "send_batch", put)
        consumer(websocket(layer, "connect", turn=None, order=0))
        return put(items)

    monkeypatch.setattr(layer, "send_batch", first_comes_in_between)
    consumer(websocket(layer, "receive", turn=None, order=1))
    assert seen == [0]
    name, content = layer.receive(["websocket.receive"])
    assert name == "websocket.receive"
    consumer(websocket(layer, "receive", turn=None, **content))
    assert seen == [0, 1]


def test_connections_do_not_wait_for_each_other(layer: Any) -> None:
    consumer, seen = ordered()
    consumer(websocket(layer, "receive", turn=None, order=1, reply_channel="daphne.test!a"))
    consumer(websocket(layer, turn=None, order=0, reply_channel="daphne.test!b"))
    assert seen == [0]
    assert layer.receive(["websocket.receive"]) == (None, None)


def test_one_that_waited_and_cannot_go_back_is_not_lost_in_silence(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    consumer, _ = ordered()
    consumer(websocket(layer, "receive", turn=None, order=1))
    monkeypatch.setitem(layer.__dict__, "send_batch", lambda items: list(items))
    with pytest.raises(ChannelFull, match=r"websocket\.receive"):
        consumer(websocket(layer, turn=None, order=0))
