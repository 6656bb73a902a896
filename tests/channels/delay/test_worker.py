"""The loop behind ``rundelay``, over a layer in memory."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError, connections
from django.utils import timezone

from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from channel_layer.outcome import Outcome
from channels.delay import store
from channels.delay.models import DelayedMessage
from channels.delay.worker import DelayWorker
from tests.conftest import wait_until


class Rounds(DelayWorker):
    """A worker that stops after so many rounds: ``termed = 2`` is two more."""

    left = 0

    @property
    def termed(self) -> bool:
        if not self.left:
            return True
        self.left -= 1
        return False

    @termed.setter
    def termed(self, rounds: int) -> None:
        self.left = rounds


def work(layer: Any, rounds: int = 1) -> Rounds:
    worker = Rounds(layer)
    worker.termed = rounds
    worker.run()
    return worker


def delay(layer: Any, channel: str = "later", milliseconds: Any = 0, **content: Any) -> None:
    layer.send("asgi.delay", {"channel": channel, "delay": milliseconds, "content": content})


def all_on(layer: Any, channel: str = "later") -> list[Any]:
    return [delivery.message for delivery in layer.receive_batch([channel], 100)]


def later(seconds: float) -> Any:
    return mock.patch("django.utils.timezone.now", return_value=timezone.now() + timedelta(seconds=seconds))


def test_a_message_waits_until_it_is_due() -> None:
    layer = MemoryChannelLayer()
    delay(layer, milliseconds=60_000, test="value")
    work(layer)
    assert DelayedMessage.objects.count() == 1
    assert all_on(layer) == []
    with later(60.001):
        work(layer)
    assert all_on(layer) == [{"test": "value"}]
    assert not DelayedMessage.objects.exists()


def test_messages_are_sent_in_the_order_of_their_due_times() -> None:
    layer = MemoryChannelLayer()
    for milliseconds in (3000, 1000, 2000):
        delay(layer, milliseconds=milliseconds, n=milliseconds)
    work(layer)
    with later(4):
        work(layer)
    assert all_on(layer) == [{"n": 1000}, {"n": 2000}, {"n": 3000}]


def test_a_bad_message_is_logged_and_the_others_are_kept(caplog: Any) -> None:
    layer = MemoryChannelLayer()
    layer.send("asgi.delay", {"test": "value"})
    delay(layer, milliseconds=-1)
    delay(layer, milliseconds="soon")
    delay(layer, picture=b"\x00")
    layer.send("asgi.delay", {"channel": "later", "content": [], "delay": 0})
    delay(layer, n=1)
    work(layer)
    assert all_on(layer) == [{"n": 1}]
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 5
    assert all(text.startswith("a message on asgi.delay is skipped: ") for text in errors)


def test_a_row_that_cannot_be_sent_is_logged_and_the_others_are_sent(caplog: Any) -> None:
    layer = MemoryChannelLayer()
    store.save(
        [
            DelayedMessage(channel_name=channel, content=content, due_date=timezone.now())
            for channel, content in [("later", "no json"), ("no name", "{}"), ("later", "[]"), ("later", '{"n": 1}')]
        ]
    )
    work(layer)
    assert all_on(layer) == [{"n": 1}]
    assert caplog.text.count("is dropped") == 3


def test_messages_for_a_full_channel_are_sent_later_and_in_order() -> None:
    layer = MemoryChannelLayer(capacity=2)
    for number in range(2):
        delay(layer, n=number)
    work(layer)
    for number in range(2, 4):
        delay(layer, n=number)
    worker = work(layer)
    assert all_on(layer) == [{"n": 0}, {"n": 1}]
    assert DelayedMessage.objects.count() == 2
    worker._full.clear()
    worker.termed = 1
    worker.run()
    assert all_on(layer) == [{"n": 2}, {"n": 3}]


def test_a_full_channel_holds_up_no_other() -> None:
    layer = MemoryChannelLayer(channel_capacity={"narrow": 1})
    for channel in ("narrow", "narrow", "wide"):
        delay(layer, channel)
    work(layer)
    assert all_on(layer, "wide") == [{}]
    assert len(all_on(layer, "narrow")) == 1


def test_the_database_is_looked_at_again_when_the_first_full_channel_may_have_room() -> None:
    worker = Rounds(MemoryChannelLayer(), database_sleep_duration=60)
    first = time.monotonic() + 10
    worker._full = {"later": first + 10, "sooner": first}
    worker._plan_check()
    assert worker._check_at == first


def test_while_the_database_is_away_nothing_is_lost(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    layer = MemoryChannelLayer()
    delay(layer, milliseconds=3_600_000, n=1)

    def fail(rows: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(store, "save", fail)
    work(layer, rounds=2)
    assert "the database is away (gone)" in caplog.text
    assert "1 messages went back to asgi.delay" in caplog.text
    monkeypatch.undo()
    work(layer)
    row = DelayedMessage.objects.get()
    assert row.channel_name == "later"
    assert timedelta(minutes=50) < row.due_date - timezone.now() < timedelta(minutes=60)


def test_while_the_layer_is_away_due_messages_wait(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    layer = MemoryChannelLayer()
    store.save([DelayedMessage(channel_name="later", content="{}", due_date=timezone.now())])

    def fail(*args: Any) -> None:
        raise LayerUnavailable("here", "gone", uncertain=False)

    monkeypatch.setattr(layer, "receive_batch", fail)
    work(layer, rounds=2)
    monkeypatch.undo()
    monkeypatch.setattr(layer, "send_batch", fail)
    worker = work(layer)
    assert DelayedMessage.objects.count() == 1
    monkeypatch.undo()
    worker.termed = 1
    worker.run()
    assert all_on(layer) == [{}]
    assert "the channel layer is back" in caplog.text


def test_while_a_part_of_the_layer_is_away_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    layer = MemoryChannelLayer()
    now = timezone.now()
    store.save([DelayedMessage(channel_name=name, content="{}", due_date=now) for name in ("away", "later")])
    send_batch = layer.send_batch

    def fail_in_part(items: Any) -> Any:
        unsent = [item for item in items if item.target == "away"]
        send_batch([item for item in items if item.target != "away"])
        raise LayerUnavailable("here", "gone", outcome=Outcome(unsent=unsent), reachable=True)

    monkeypatch.setattr(layer, "send_batch", fail_in_part)
    work(layer)
    assert all_on(layer) == [{}]
    assert [row.channel_name for row in DelayedMessage.objects.all()] == ["away"]
    assert "channel away cannot be reached" in caplog.text
    assert "the channel layer is away" not in caplog.text


def test_a_message_whose_fate_is_unknown_is_not_sent_again(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    layer = MemoryChannelLayer()
    store.save([DelayedMessage(channel_name="later", content="{}", due_date=timezone.now())])

    def fail(*args: Any) -> None:
        raise LayerUnavailable("here", "no answer")

    monkeypatch.setattr(layer, "send_batch", fail)
    work(layer)
    assert "1 delayed messages may be lost" in caplog.text
    assert not DelayedMessage.objects.exists()


def test_it_stops_at_once_while_it_waits() -> None:
    layer = MemoryChannelLayer()
    worker = DelayWorker(layer, database_sleep_duration=3600)

    def run() -> None:
        try:
            worker.run()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    delay(layer, n=1)
    wait_until(lambda: all_on(layer) == [{"n": 1}], "the message")
    worker.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_a_sleep_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="database_sleep_duration must be above 0"):
        DelayWorker(MemoryChannelLayer(), database_sleep_duration=0)
