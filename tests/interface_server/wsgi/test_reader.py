"""Answers for the threads of a WSGI server."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from interface_server.options import Options
from interface_server.spool.file import SpoolFile
from interface_server.wire.responses import BadResponse
from interface_server.wsgi.reader import Mailbox, Reader
from tests.conftest import wait_until


@pytest.fixture
def layer() -> MemoryChannelLayer:
    return MemoryChannelLayer()


@pytest.fixture
def reader(layer: MemoryChannelLayer) -> Iterator[Reader]:
    reader = Reader(layer, Options())
    yield reader
    reader.close()


def test_each_request_gets_its_own_answers(layer: Any, reader: Reader) -> None:
    one, two = reader.open(), reader.open()
    layer.send(two.channel, {"content": b"2"})
    layer.send(one.channel, {"content": b"1a", "more_content": True})
    layer.send(one.channel, {"content": b"1b", "more_content": False})
    assert two.take(20) == {"content": b"2"}
    assert one.take(20) == {"content": b"1a", "more_content": True}
    assert one.take_part(20) == (b"1b", False)


def test_a_server_push_is_dropped(layer: Any, reader: Reader) -> None:
    mailbox = reader.open()
    layer.send(mailbox.channel, {"request": {"path": "/style.css"}})
    layer.send(mailbox.channel, {"status": 200})
    assert mailbox.take(20) == {"status": 200}


def test_names_cannot_be_guessed(reader: Reader) -> None:
    channels = {reader.open().channel for _ in range(100)}
    assert len(channels) == 100
    assert all(len(channel.partition("!")[2]) >= 16 for channel in channels)


def test_a_message_to_a_group_reaches_those_who_wait(layer: Any, reader: Reader) -> None:
    one, two, other = reader.open(), reader.open(), reader.open()
    for mailbox in (one, two):
        layer.group_add("news", mailbox.channel)
    layer.send_group("news", {"status": 200})
    assert one.take(20) == two.take(20) == {"status": 200}
    assert not other.is_answered


def test_who_has_gone_leaves_every_group(layer: Any, reader: Reader) -> None:
    mailbox = reader.open()
    layer.group_add("news", mailbox.channel)
    layer.send_group("news", {"status": 200})
    assert mailbox.take(20)
    reader.shut(mailbox)
    layer.send(reader.name + "wake", {})
    wait_until(lambda: layer.group_channels("news") == [], "an empty group")


def test_a_failed_consumer_is_known_at_once(layer: Any, reader: Reader) -> None:
    mailbox = reader.open()
    layer.send_batch([layer.prepare(mailbox.channel, {}, {"failed": True})])
    answer = mailbox.take(20)
    assert answer is not None
    assert answer["closed"] is True


def test_a_layer_that_is_away_is_tried_again(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = threading.Semaphore(3)
    receive = layer.receive_batch

    def flaky(*args: Any) -> Any:
        if failures.acquire(blocking=False):
            raise LayerUnavailable("here", "gone")
        return receive(*args)

    monkeypatch.setattr(layer, "receive_batch", flaky)
    reader = Reader(layer, Options())
    mailbox = reader.open()
    layer.send(mailbox.channel, {"a": 1})
    assert mailbox.take(20) == {"a": 1}
    reader.close()


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    options = Options(response_buffer=4_000_000)
    file = SpoolFile(str(tmp_path), options.spool_bytes, options.spool_memory)
    with ThreadPoolExecutor(1) as pool:
        told: list[Any] = []
        made = Mailbox("x!y", options, file, pool, lambda *what: told.append(what))
        made.told = told  # type: ignore[attr-defined]
        yield made
        made.close()
    assert (file.used, file.memory) == (0, 0)
    file.close()


def all_parts(mailbox: Mailbox) -> bytes:
    taken, more = [], True
    while more:
        part, more = mailbox.take_part(20)
        taken.append(part)
    return b"".join(taken)


BEGIN = {"status": 200, "content": b"", "more_content": True}


def test_nothing_in_time_is_nothing(mailbox: Mailbox) -> None:
    assert mailbox.take(0.01) is None
    mailbox.put(BEGIN, {})
    with pytest.raises(BadResponse, match="no more of it came"):
        mailbox.take_part(0.01)


def test_a_long_response_is_taken_over_and_waits_on_the_disk(mailbox: Mailbox) -> None:
    content = os.urandom(10_000_000)
    mailbox.put(BEGIN, {"flow": "worker.a!1"})
    for start in range(0, len(content), 500_000):
        wait_until(lambda: mailbox._spools.file.memory < 2_000_000, "the disk")
        mailbox.put({"content": content[start : start + 500_000], "more_content": True}, {})
    mailbox.put({"content": b"", "more_content": False}, {})
    told = mailbox.told  # type: ignore[attr-defined]
    wait_until(lambda: told and told[-1][1]["written"] > 8_000_000, "the last reports")
    assert {channel for channel, _ in told} == {"worker.a!1"}
    assert all_parts(mailbox) == content


def test_a_producer_that_does_not_wait_is_not_stored_without_end(mailbox: Mailbox) -> None:
    mailbox.put(BEGIN, {})
    mailbox.put({"content": bytes(5_000_000), "more_content": True}, {})
    mailbox.put({"content": bytes(5_000_000), "more_content": True}, {})
    with pytest.raises(BadResponse, match="does not wait for the client"):
        all_parts(mailbox)


@pytest.mark.parametrize(
    ("message", "headers", "reason"),
    [
        ({"content": "text"}, {}, "'content' is str"),
        ({"content": b"", "closed": True}, {}, "broke off"),
        ({}, {"failed": True}, "broke off"),
    ],
)
def test_a_response_that_cannot_be_completed_says_why(
    mailbox: Mailbox, message: dict[str, Any], headers: dict[str, Any], reason: str
) -> None:
    mailbox.put(BEGIN, {})
    mailbox.put({"content": b"some", "more_content": True}, {})
    mailbox.put(message, headers)
    assert mailbox.take_part(0) == (b"some", True)
    with pytest.raises(BadResponse, match=reason):
        mailbox.take_part(20)


def test_a_producer_that_asks_for_a_heartbeat_gets_one(mailbox: Mailbox) -> None:
    mailbox.put(BEGIN, {"flow": "worker.a!1"})
    mailbox.put({}, {"flow": "worker.a!1"})
    assert mailbox.told == [("worker.a!1", {"written": 0})]  # type: ignore[attr-defined]


def test_an_empty_message_says_nothing_but_what_its_headers_say(mailbox: Mailbox) -> None:
    mailbox.put({}, {"read": 7})
    mailbox.put({}, {"read": 5})
    assert not mailbox.is_answered
    assert mailbox.read == 7
    mailbox.wait_for_reader(7, 20)


def test_the_producer_of_a_response_to_nobody_hears_of_it(layer: Any, reader: Reader) -> None:
    layer.send_batch([layer.prepare(reader.name + "gone", BEGIN, {"flow": "worker.a!7"})])
    [heard] = layer.receive_batch(["worker.a!"], timeout=30)
    assert (heard.channel, heard.message) == ("worker.a!7", {"closed": True})


def test_a_producer_hears_while_the_taking_thread_is_busy(layer: Any, reader: Reader) -> None:
    mailbox = reader.open()
    layer.send_batch([layer.prepare(mailbox.channel, BEGIN, {"flow": "worker.a!1"})])
    layer.send_batch([layer.prepare(mailbox.channel, {"content": bytes(800_000), "more_content": True})])
    [heard] = layer.receive_batch(["worker.a!"], timeout=30)
    assert heard.message == {"written": 800_000}
    reader.shut(mailbox)
