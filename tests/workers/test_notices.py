"""Telling senders that their turns are under way, by a worker in a thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from channel_layer.delivery import Delivery, Outgoing
from channel_layer.memory import MemoryChannelLayer
from tests.conftest import wait_until
from workers import notices
from workers.notices import Notices

from .tools import Routes, working

REPLY = "daphne.test!socket"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "NOTICE_SECONDS", 0.1)


def send(layer: MemoryChannelLayer, turn: int | None) -> None:
    headers = None if turn is None else {"turn": turn}
    layer.send_batch([layer.prepare("a", {"reply_channel": REPLY}, headers)])


def answers(layer: MemoryChannelLayer) -> list[dict[str, Any] | None]:
    # In one process the worker interrupts whoever waits.
    found = wait_until(lambda: layer.receive_batch(["daphne.test!"], limit=10), "an answer")
    return [item.headers for item in found]


class Slow:
    """A consumer that ends when it is told to."""

    def __init__(self, is_async: bool) -> None:
        self.released = threading.Event()
        self.consumer: Callable[[Any], Any] = self._arun if is_async else self._run

    def _run(self, message: Any) -> None:
        message.content["reply_channel"] = "elsewhere"  # whatever it does, its sender is told
        assert self.released.wait(30)

    async def _arun(self, message: Any) -> None:
        message.content["reply_channel"] = "elsewhere"
        while not self.released.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("stopping", [False, True])
def test_the_sender_is_told_once_that_a_slow_consumer_is_at_work(is_async: bool, stopping: bool) -> None:
    layer = MemoryChannelLayer()
    slow = Slow(is_async)
    with working(layer, Routes(a=slow.consumer)) as worker:
        try:
            send(layer, 7)
            if stopping:
                wait_until(lambda: worker._async_limit.taken or worker._busy, "the consumer to run")
                worker.stop()
            [told] = answers(layer)
            assert told is not None
            assert told["begun"] == 7
            assert 0.1 < told["seconds"] < 20
            assert (told["worker"], told["consumer"]) == (worker.name, f"{__name__}.{slow.consumer.__qualname__}")
            time.sleep(0.3)
        finally:
            slow.released.set()
        assert answers(layer) == [{"turn": 7}]
    assert layer.receive(["elsewhere"]) == (None, None)


def run(turn: int | None = 1, reply: object = REPLY, ago: float = 100.0) -> tuple[float, Delivery, object]:
    return time.perf_counter() - ago, Delivery("a", {}, None if turn is None else {"turn": turn}), reply


def test_who_is_quick_waits_for_no_turn_or_has_no_reply_channel_is_told_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "NOTICE_SECONDS", 60.0)  # longer than this test is held up
    told: list[Outgoing] = []
    Notices("layer", lambda layer, item: told.append(item), "worker.x", lambda delivery: "app.consumer").look(
        [run(ago=0.01), run(turn=None), run(reply=None), run(reply="not a name!!"), run(reply=5), run(turn=9)]
    )
    [headers] = [item.headers for item in told if item.headers]
    assert (headers["begun"], headers["worker"], headers["consumer"]) == (9, "worker.x", "app.consumer")
    assert caplog.text.count("cannot be told") == 2, "to have no reply channel is no error"


def test_what_has_ended_is_forgotten() -> None:
    notices_of_a_worker = Notices("layer", lambda layer, item: None, "worker.x", lambda delivery: "app.consumer")
    notices_of_a_worker.look([run(), run()])
    assert len(notices_of_a_worker._told) == 2
    notices_of_a_worker.look([])
    assert notices_of_a_worker._told == set()
