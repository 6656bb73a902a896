"""The channel on which a worker process is spoken to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from channel_layer.redis import RedisChannelLayer
from tests.conftest import wait_until
from workers.event_loop import EventLoop
from workers.inbox import Inbox


class Deaf(MemoryChannelLayer):
    """Raises what the test says before it receives, and counts the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[Exception] = []
        self.calls = 0

    async def areceive_batch(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return await super().areceive_batch(*args, **kwargs)


@contextmanager
def opened(layer: Any) -> Iterator[Inbox]:
    loop = EventLoop(layer.aclose)
    try:
        yield Inbox(layer, loop)
    finally:
        loop.close()


def test_each_address_gets_its_own_messages_on_the_event_loop() -> None:
    layer = MemoryChannelLayer()
    seen: list[Any] = []
    with opened(layer) as inbox:
        first, second = (
            inbox.open(lambda *told, name=name: seen.append((name, *told, threading.current_thread().name)))
            for name in "ab"
        )
        assert first.channel != second.channel
        assert first.channel.partition("!")[0] == second.channel.partition("!")[0]
        layer.send_batch([layer.prepare(second.channel, {"n": 1}, {"x": 2}), layer.prepare(first.channel, {"n": 3})])
        wait_until(lambda: len(seen) == 2, "both")
    assert sorted(seen) == [("a", {"n": 3}, None, "worker-async"), ("b", {"n": 1}, {"x": 2}, "worker-async")]


def test_names_cannot_be_guessed() -> None:
    layer = MemoryChannelLayer()
    names = set()
    for _ in range(2):
        with opened(layer) as inbox:
            names.add(inbox.open(lambda *told: None).channel)
    assert len(names) == 2
    assert all(len(name) > len("worker.!") + 20 for name in names)


def test_what_is_for_nobody_or_breaks_its_listener_hurts_no_other(caplog: pytest.LogCaptureFixture) -> None:
    layer = MemoryChannelLayer()
    seen: list[Any] = []

    def breaks(*told: Any) -> None:
        raise RuntimeError("broken listener")

    with opened(layer) as inbox:
        closed, broken = inbox.open(lambda *told: seen.append("closed")), inbox.open(breaks)
        good = inbox.open(lambda content, headers: seen.append(content["n"]))
        closed.close()
        for n, address in enumerate((closed, broken, good)):
            layer.send(address.channel, {"n": n})
        wait_until(lambda: seen, "the last")
    assert seen == [2]
    assert "broken listener" in caplog.text


def test_a_message_in_parts_lets_others_work_between_them_and_no_message_overtake_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    layer = MemoryChannelLayer()
    seen: list[Any] = []

    def in_parts(content: Any, headers: Any) -> Iterator[None]:
        for part in range(3):
            asyncio.get_running_loop().call_soon(seen.append, f"work after {part}")
            seen.append(part)
            yield
        raise RuntimeError("broken at its end")

    with opened(layer) as inbox:
        long, short = inbox.open(in_parts), inbox.open(lambda content, headers: seen.append("next"))
        layer.send_batch([layer.prepare(long.channel, {}), layer.prepare(short.channel, {})])
        wait_until(lambda: "next" in seen, "the message behind it")
    assert seen == [0, "work after 0", 1, "work after 1", 2, "work after 2", "next"]
    assert "broken at its end" in caplog.text


def test_a_message_to_a_group_reaches_its_members_here() -> None:
    layer = MemoryChannelLayer()
    seen: list[Any] = []
    with opened(layer) as inbox:
        for name in "ab":
            address = inbox.open(lambda content, headers, name=name: seen.append((name, content["n"])))
            layer.group_add("group", address.channel)
        layer.send_group("group", {"n": 1})
        wait_until(lambda: len(seen) == 2, "both")
    assert sorted(seen) == [("a", 1), ("b", 1)]


def test_nothing_is_received_before_somebody_has_an_address() -> None:
    layer = Deaf()
    with opened(layer) as inbox:
        assert (layer.calls, inbox._loop.running) == (0, None)
        inbox.open(lambda *told: None)
        wait_until(lambda: layer.calls, "the first call")


@pytest.mark.parametrize("error", [LayerUnavailable("here", "away"), RuntimeError("bug")], ids=repr)
def test_it_outlives_an_outage_and_says_so_once(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    layer = Deaf()
    layer.errors = [error] * 3
    seen: list[Any] = []
    with opened(layer) as inbox:
        address = inbox.open(lambda content, headers: seen.append(content))
        layer.send(address.channel, {"n": 1})
        wait_until(lambda: seen, "the message")
    assert caplog.text.count("trying again") == 1
    assert caplog.text.count("can be reached again") == 1


def test_all_addresses_share_one_connection_which_is_closed_with_the_loop(redis_url: str) -> None:
    layer = RedisChannelLayer(hosts=[redis_url], prefix="inbox")
    server = redis.Redis.from_url(redis_url)
    before = {client["id"] for client in server.client_list()}
    seen: list[Any] = []

    def ours() -> list[str]:
        return [client["id"] for client in server.client_list() if client["id"] not in before]

    try:
        with opened(layer) as inbox:
            addresses = [inbox.open(lambda content, headers: seen.append(content["n"])) for _ in range(50)]
            layer.send_batch([layer.prepare(one.channel, {"n": n}) for n, one in enumerate(addresses)])
            wait_until(lambda: len(seen) == 50, "all")
            assert len(ours()) == 2  # this thread's, which sends, and the inbox's
            for client in ours():
                server.client_kill_filter(_id=client)
            wait_until(lambda: len(ours()) == 1, "it to connect again")
            layer.close()
            layer.send(addresses[0].channel, {"n": 50})
            wait_until(lambda: len(seen) == 51, "what comes after the cut")
        layer.close()
        wait_until(lambda: not ours(), "the end of the connections")
    finally:
        layer.close()
        server.close()


class Peer:
    """Somebody who has an address, and may answer."""

    def __init__(self, layer: Any, inbox: Inbox, answers: bool) -> None:
        self.told: list[Any] = []
        self.questions = 0
        self._layer = layer
        self._answers = answers
        self._name = f"daphne.{'lively' if answers else 'dead'}!"
        self.address = inbox.open(lambda content, headers: self.told.append(content), self._name + "x")

    def look(self) -> None:
        for question in self._layer.receive_batch([self._name], limit=10):
            assert (question.message, question.headers) == ({}, {"flow": self.address.channel})
            self.questions += 1
            if self._answers:
                self._layer.send(self.address.channel, {"written": 0})


def test_a_silent_peer_is_asked_for_a_heartbeat_and_is_gone_if_it_gives_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("workers.inbox.WAIT_SECONDS", 0.02)
    monkeypatch.setattr("workers.inbox.ASK_SECONDS", 0.05)
    monkeypatch.setattr("workers.inbox.LOST_SECONDS", 2.0)
    layer = MemoryChannelLayer()

    with opened(layer) as inbox:
        lively, dead = Peer(layer, inbox, answers=True), Peer(layer, inbox, answers=False)
        unknown: list[Any] = []
        inbox.open(lambda content, headers: unknown.append(content))

        def gone() -> bool:
            lively.look()
            dead.look()
            return bool(dead.told)

        wait_until(gone, "the end of the dead one")
        dead.address.close()
    assert dead.told[0] == {"closed": True}
    assert dead.questions > 1
    assert lively.questions > 1
    assert all(told == {"written": 0} for told in lively.told)
    assert unknown == []
    assert "daphne.dead!x has given no heartbeat" in caplog.text


def test_an_outage_is_nobodys_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.inbox.WAIT_SECONDS", 0.02)
    monkeypatch.setattr("workers.inbox.ASK_SECONDS", 0.04)
    monkeypatch.setattr("workers.inbox.LOST_SECONDS", 2.0)
    layer = Deaf()
    with opened(layer) as inbox:
        peer = Peer(layer, inbox, answers=False)
        layer.errors = [LayerUnavailable("here", "away")] * 3
        wait_until(lambda: len(layer.errors) < 3, "the outage")
        peer.address.heard -= 60
        wait_until(lambda: peer.look() or peer.questions, "a question")
        assert peer.told == []
