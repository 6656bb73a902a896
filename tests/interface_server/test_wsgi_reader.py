"""Answers for the threads of a WSGI server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from interface_server.wsgi_reader import Mailbox, Reader
from tests.conftest import wait_until


@pytest.fixture
def layer() -> MemoryChannelLayer:
    return MemoryChannelLayer()


@pytest.fixture
def reader(layer: MemoryChannelLayer) -> Iterator[Reader]:
    reader = Reader(layer)
    yield reader
    reader.close()


def test_each_request_gets_its_own_answers(layer: Any, reader: Reader) -> None:
    one, two = reader.open(100), reader.open(100)
    layer.send(two.channel, {"content": b"2"})
    layer.send(one.channel, {"content": b"1a"})
    layer.send(one.channel, {"content": b"1b"})
    assert [one.take(20), one.take(20), two.take(20)] == [{"content": b"1a"}, {"content": b"1b"}, {"content": b"2"}]


def test_names_cannot_be_guessed(reader: Reader) -> None:
    channels = {reader.open(1).channel for _ in range(100)}
    assert len(channels) == 100
    assert all(len(channel.partition("!")[2]) >= 16 for channel in channels)


def test_a_message_to_a_group_reaches_those_who_wait(layer: Any, reader: Reader) -> None:
    one, two, other = reader.open(100), reader.open(100), reader.open(100)
    for mailbox in (one, two):
        layer.group_add("news", mailbox.channel)
    layer.send_group("news", {"status": 200})
    assert one.take(20) == two.take(20) == {"status": 200}
    assert not other


def test_who_has_gone_leaves_every_group(layer: Any, reader: Reader) -> None:
    mailbox = reader.open(100)
    layer.group_add("news", mailbox.channel)
    layer.send_group("news", {"status": 200})
    assert mailbox.take(20)
    reader.shut(mailbox)
    layer.send(reader.name + "wake", {})
    wait_until(lambda: layer.group_channels("news") == [], "an empty group")


def test_a_failed_consumer_is_known_at_once(layer: Any, reader: Reader) -> None:
    mailbox = reader.open(100)
    layer.send_many([layer.prepare(mailbox.channel, {}, {"failed": True})])
    answer = mailbox.take(20)
    assert answer is not None
    assert answer["closed"] is True


def test_a_layer_that_is_away_is_tried_again(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = threading.Semaphore(3)
    receive = layer.receive_many

    def flaky(*args: Any) -> Any:
        if failures.acquire(blocking=False):
            raise LayerUnavailable("here", "gone")
        return receive(*args)

    monkeypatch.setattr(layer, "receive_many", flaky)
    reader = Reader(layer)
    mailbox = reader.open(100)
    layer.send(mailbox.channel, {"a": 1})
    assert mailbox.take(20) == {"a": 1}
    reader.close()


def test_nothing_in_time_is_nothing() -> None:
    assert Mailbox("x!y", 10).take(0.01) is None


def test_a_producer_that_does_not_wait_is_not_stored_without_end() -> None:
    mailbox = Mailbox("x!y", 10)
    mailbox.put({"content": b"x" * 50})  # one message is always taken
    assert mailbox.take(0) == {"content": b"x" * 50}
    for _ in range(3):
        mailbox.put({"content": b"x" * 6})
    assert mailbox.overflown
    assert mailbox.take(0) is None


def test_an_empty_message_says_nothing() -> None:
    mailbox = Mailbox("x!y", 10)
    mailbox.put({})
    assert not mailbox
