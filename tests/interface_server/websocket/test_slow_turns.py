"""When a turn that takes long is over: without any I/O, and then on real layers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.sync.client import connect

from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from channel_layer.messages import RESUME
from channel_layer.redis import RedisChannelLayer
from channel_layer.sqlite import SqliteChannelLayer
from interface_server.bridge.backlog import Front
from interface_server.websocket import slow_turns
from interface_server.websocket.slow_turns import (
    DIED,
    EXPIRED,
    LATER_SECONDS,
    LOST,
    LOST_TURN_SECONDS,
    NOT_FINISHED,
    RESUME_SECONDS,
    SIGN_SECONDS,
    SlowTurn,
)
from tests.conftest import wait_until
from tests.interface_server.helpers import Interceptor, running, silent

RECEIVE = "websocket.receive"
STORED_AT = 100.0


class Case:
    """A turn whose message was stored at `STORED_AT`; consumers get 30 seconds, messages 60."""

    def __init__(self, channel: str = "c") -> None:
        self.oldest: float | None = 0.0
        self.is_left = False
        self.now = STORED_AT
        self.uplink = SimpleNamespace(down=None)
        context: Any = SimpleNamespace(
            options=SimpleNamespace(turn_timeout=30.0),
            layer=SimpleNamespace(expiry=60.0),
            uplink=self.uplink,
            backlog=SimpleNamespace(front=self.front, is_deserted=lambda *args: self.is_left),
        )
        self.turn = SlowTurn(context, channel, STORED_AT)
        self.knows_age = True

    def front(self, channel: str, since: float) -> Front | None:
        """Asked this moment: the oldest message was stored then, or none waits."""
        if self.oldest is None or self.now <= since:
            return None
        return Front(self.now, min(self.oldest, self.now) if self.knows_age else inf, self.now, self.now)

    def over(self, after: float, oldest: float | None = float("inf")) -> str | None:
        """What becomes of the turn so long after the message was stored, if that is the oldest message then.

        It is looked at every second until then.
        """
        self.oldest = oldest
        while self.now + 1 < STORED_AT + after:
            self.now += 1
            self.turn.over(self.now)
        self.now = STORED_AT + after
        return self.turn.over(self.now)

    def held_up(self, until: float) -> None:
        """Nobody looks until then."""
        self.now = STORED_AT + until


def test_a_message_that_waits_keeps_its_turn_until_it_expires() -> None:
    case = Case()
    for after in range(1, 60):
        assert case.over(after, oldest=STORED_AT - 1) is None
    assert case.over(60 + SIGN_SECONDS + 0.1, oldest=STORED_AT - 1) == EXPIRED


def test_a_message_that_was_taken_at_the_last_moment_or_swept_away_is_given_up_when_no_worker_tells_of_it() -> None:
    case = Case()
    assert case.over(59.5, oldest=STORED_AT) is None
    assert case.over(60 + SIGN_SECONDS) is None
    assert case.over(60 + SIGN_SECONDS + 0.1) == EXPIRED


def test_the_time_of_a_consumer_counts_from_when_its_message_was_taken() -> None:
    case = Case()
    assert case.over(26, oldest=STORED_AT) is None
    assert case.over(26.5) is None
    assert case.over(55.9) is None
    assert case.over(56) == DIED


def test_a_message_that_was_taken_and_of_which_nobody_tells_is_given_up_in_time() -> None:
    case = Case()
    assert case.over(29.9) is None
    assert case.over(30) == DIED


def test_an_instance_that_a_worker_took_and_does_not_tell_of_is_made_again_soon() -> None:
    case = Case(RESUME)
    assert case.over(20, oldest=STORED_AT) is None
    assert case.over(20 + RESUME_SECONDS - 0.1) is None
    assert case.over(20 + RESUME_SECONDS) == DIED


def test_while_nobody_could_be_heard_a_worker_is_not_taken_for_gone() -> None:
    case = Case(RESUME)
    assert case.over(3) is None
    case.held_up(20)
    assert case.over(20) is None
    case.uplink.down = LayerUnavailable("here", "it is away")
    assert case.over(40) is None
    case.uplink.down = None
    assert case.over(40 + RESUME_SECONDS - 0.1) is None
    assert case.over(40 + RESUME_SECONDS) == DIED


def test_where_the_layer_cannot_tell_what_waits_an_instance_has_the_time_of_a_consumer() -> None:
    case = Case(RESUME)
    case.knows_age = False
    assert case.over(29.9) is None
    assert case.over(30) == DIED


def test_a_consumer_of_which_a_worker_tells_gets_its_time_from_its_beginning() -> None:
    case = Case()
    case.turn.hear({"begun": 3, "seconds": 1.5}, STORED_AT + 41.5)
    assert case.over(69.9, oldest=STORED_AT) is None
    assert case.over(70, oldest=STORED_AT) == NOT_FINISHED


def test_a_consumer_that_wants_its_message_later_begins_anew() -> None:
    case = Case()
    case.turn.hear({"begun": 3, "seconds": 1}, STORED_AT + 20)
    case.turn.hear({"later": 3}, STORED_AT + 25)
    assert case.over(50, oldest=STORED_AT + 24) is None
    assert case.over(25 + LATER_SECONDS + 20, oldest=STORED_AT + 26) is None
    assert case.over(25 + LATER_SECONDS + 49) is None
    assert case.over(25 + LATER_SECONDS + 50) == DIED


def test_a_message_that_may_be_lost_gets_little_time() -> None:
    case = Case()
    case.turn.lost()
    assert case.over(LOST_TURN_SECONDS - 0.1) is None
    assert case.over(LOST_TURN_SECONDS) == LOST


def test_a_message_that_may_be_lost_keeps_its_turn_as_long_as_it_may_wait() -> None:
    case = Case()
    case.turn.lost()
    assert case.over(20, oldest=STORED_AT) is None
    assert case.over(20 + LOST_TURN_SECONDS - 0.1) is None
    assert case.over(20 + LOST_TURN_SECONDS) == LOST


def test_a_busy_channel_adds_nothing_to_the_time_of_a_message() -> None:
    case = Case()
    case.turn.lost()
    for after in range(1, int(LOST_TURN_SECONDS)):
        assert case.over(after, oldest=STORED_AT + after - 0.1) is None
    assert case.over(LOST_TURN_SECONDS, oldest=STORED_AT + LOST_TURN_SECONDS - 0.1) == LOST


def test_a_message_that_may_be_lost_gets_its_time_when_the_layer_answers_again() -> None:
    case = Case()
    case.turn.lost()
    case.uplink.down = LayerUnavailable("here", "gone")
    assert case.over(20) is None
    case.uplink.down = None
    assert case.over(20 + SIGN_SECONDS - 0.1) is None
    assert case.over(20 + SIGN_SECONDS) == LOST


def test_a_short_outage_adds_nothing_to_the_time_of_a_message_that_may_be_lost() -> None:
    case = Case()
    case.turn.lost()
    case.uplink.down = LayerUnavailable("here", "gone")
    assert case.over(2) is None
    case.uplink.down = None
    assert case.over(LOST_TURN_SECONDS) == LOST


def test_a_message_that_may_be_lost_and_was_begun_all_the_same_gets_all_its_time() -> None:
    case = Case()
    case.turn.lost()
    case.turn.hear({"begun": 3, "seconds": 1}, STORED_AT + 2)
    assert case.over(30.9) is None
    assert case.over(31) == NOT_FINISHED


def test_nothing_ends_while_the_layer_does_not_answer() -> None:
    case = Case()
    case.uplink.down = LayerUnavailable("here", "gone")
    assert case.over(45) is None
    case.uplink.down = None
    assert case.over(50, oldest=None) is None
    assert case.over(51) == DIED


def test_nobody_works_on_what_waits_on_a_channel_that_no_worker_reads() -> None:
    case = Case()
    assert case.over(20, oldest=STORED_AT) is None
    assert not case.turn.is_deserted(3)
    case.is_left = True
    assert case.turn.is_deserted(3)


def test_nobody_works_on_what_was_taken_and_of_which_no_worker_gave_a_sign() -> None:
    case = Case()
    assert case.over(20, oldest=STORED_AT) is None
    assert case.over(20 + LOST_TURN_SECONDS - 0.1) is None
    assert not case.turn.is_deserted(3)
    assert case.over(20 + LOST_TURN_SECONDS) is None
    assert case.turn.is_deserted(3)
    case.turn.hear({"begun": 3, "seconds": 1}, STORED_AT + 25)
    assert not case.turn.is_deserted(3)


def test_old_news_end_no_turn() -> None:
    case = Case()
    assert case.over(20) is None
    news = case.turn._context.backlog.front("c", 0)
    case.turn._context.backlog.front = lambda channel, since: news
    assert case.turn.over(STORED_AT + 40) is None


@pytest.fixture(params=["memory", "sqlite", "redis"])
def layer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made: Any
    if request.param == "memory":
        made = MemoryChannelLayer()
    elif request.param == "sqlite":
        made = SqliteChannelLayer(tmp_path / "layer.sqlite3")
    else:
        made = RedisChannelLayer(
            hosts=[request.getfixturevalue("redis_url")],
            prefix=f"test-{uuid.uuid4().hex}:",
            symmetric_encryption_keys=["a key of some length for this test"],
        )
    yield made
    made.close()


def test_a_frame_that_waits_for_a_worker_holds_back_the_next_one(layer: Any) -> None:
    def is_old() -> bool:
        return bool(layer.channel_statistics(RECEIVE)["messages_max_age"] > 1.6)

    with running(layer=layer, turn_timeout=0.5, graceful_timeout=0.2) as server, connect(server.url()) as client:
        server.workers.stop()
        client.send("first")
        client.send("second")
        wait_until(is_old, "the first frame to have waited")
        [first] = layer.receive_batch([RECEIVE], limit=9)
        assert first.message["text"] == "first"
        layer.put_back(RECEIVE, [first])
        asked = server.context.now
        wait_until(lambda: server.context.now > asked + 1.2, "the layer to be asked again")
        [first] = layer.receive_batch([RECEIVE], limit=9)
        assert first.message["text"] == "first"
        server.workers.reply(first, {})
        [second] = wait_until(lambda: layer.receive_batch([RECEIVE], limit=9), "the second frame")
        assert second.message["text"] == "second"


def test_a_frame_that_expires_lets_the_next_one_go_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_turns, "SIGN_SECONDS", 0.5)
    layer = MemoryChannelLayer(expiry=1)
    with running(layer=layer, turn_timeout=60, graceful_timeout=0.2) as server, connect(server.url()) as client:
        server.workers.stop()
        client.send("first")
        client.send("second")
        wait_until(lambda: EXPIRED in caplog.text, "the first frame to expire")
        [second] = wait_until(lambda: layer.receive_batch([RECEIVE]), "the second frame")
        assert second.message["text"] == "second"


@pytest.mark.parametrize("stored", [False, True])
def test_a_frame_of_unknown_fate_ends_its_turn_soon_and_the_log_says_so(
    stored: bool, redis_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_turns, "LOST_TURN_SECONDS", 3.0)
    proxy = Interceptor(redis_url)
    prefix = f"test-{uuid.uuid4().hex}:"
    layer = RedisChannelLayer(hosts=[redis_url], prefix=prefix)
    behind = RedisChannelLayer(hosts=[proxy.url], prefix=prefix)
    try:
        options = {"workers_layer": layer, "graceful_timeout": 0.2}
        with running({RECEIVE: silent}, layer=behind, **options) as server, connect(server.url()) as client:
            proxy.cut_at(b"c:websocket.receive", passes=stored)
            client.send("perhaps")
            wait_until(lambda: proxy.has_cut, "the frame to be sent")
            client.send("next")
            [*before, last] = server.workers.wait_for(RECEIVE, 1 + stored)
            assert [item.message["text"] for item in before] == ["perhaps"] * stored
            assert last.message["text"] == "next"
            server.workers.reply(last, {"text": "goes on"})
            assert client.recv(timeout=20) == "goes on"
    finally:
        proxy.close()
        layer.close()
        behind.close()
    assert "a message of the WebSocket / may be lost: channel layer at" in caplog.text
    assert f"going on without turn 2 of the WebSocket /: {LOST}" in caplog.text
    assert "is full" not in caplog.text
