"""Consumers that hang, in threads and on the event loop of a worker in this process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from channel_layer.channel import Channel
from channel_layer.delivery import Delivery, Headers
from channel_layer.memory import MemoryChannelLayer
from tests.conftest import wait_until
from workers import Worker, event_loop
from workers import hangs as module
from workers.hangs import REASON, Hangs, answers
from workers.sync_side import SyncSide

from .tools import Clock, Routes, everything, turn_of

REPLY = "daphne.test!socket"
CLOSE = {"close": 1011, "reason": REASON}
TIMEOUT = 0.3


class Stuck:
    """Consumers that go on when the test is over, and not before."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.begun = threading.Event()

    def in_thread(self, message: Any) -> None:
        message.reply_channel.send({"text": "late"})
        self.begun.set()
        assert self.release.wait(40)

    async def in_coroutine(self, message: Any) -> None:
        message.reply_channel.send({"text": "late"})
        self.begun.set()
        await asyncio.sleep(40)

    async def stubborn(self, message: Any) -> None:
        while not self.release.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                pass

    async def blocking(self, message: Any) -> None:
        assert self.release.wait(40)


@contextmanager
def working(layer: Any, router: Any, stuck: Stuck, **options: Any) -> Iterator[tuple[Worker, threading.Thread]]:
    before = set(threading.enumerate())
    worker = Worker(layer, router, signal_handlers=False, **{"consumer_timeout": TIMEOUT, "grace": 20} | options)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker, thread
    finally:
        stuck.release.set()
        worker.stop()
        thread.join(30)
    assert not thread.is_alive()
    wait_until(lambda: set(threading.enumerate()) <= before, "all its threads to end")


@pytest.fixture
def stuck() -> Stuck:
    return Stuck()


@pytest.fixture
def layer() -> MemoryChannelLayer:
    return MemoryChannelLayer(capacity=10_000)


def send(layer: Any, channel: str, headers: Headers | None = None, **content: Any) -> None:
    layer.send_batch([layer.prepare(channel, {"reply_channel": REPLY, **content}, headers)])


def lose_patience(worker: Worker) -> None:
    """Have consumers be given up soon, now that they have come to where the log is to say that they are."""
    assert worker._hangs is not None
    worker._hangs._seconds = TIMEOUT


def heard(layer: Any, count: int = 1) -> list[tuple[Any, Any]]:
    """So many answers: content and headers. Notices that a consumer is slow are no answers."""
    found: list[tuple[Any, Any]] = []

    def enough() -> bool:
        new = layer.receive_batch([REPLY.partition("!")[0] + "!"], limit=99)
        found.extend((one.message, one.headers) for one in new if "begun" not in (one.headers or {}))
        return len(found) >= count

    wait_until(enough, f"{count} answers")
    return found


def test_a_thread_that_hangs_is_given_up_and_the_rest_is_finished(
    layer: MemoryChannelLayer, stuck: Stuck, caplog: pytest.LogCaptureFixture
) -> None:
    def quick(message: Any) -> None:
        Channel("done", channel_layer=layer).send({"n": message["n"]})

    with working(layer, Routes(a=stuck.in_thread, b=quick), stuck, threads=2, consumer_timeout=600.0) as (
        worker, thread,
    ):  # fmt: skip
        send(layer, "a", {"turn": 7})
        assert stuck.begun.wait(60)
        lose_patience(worker)
        layer.send_batch([layer.prepare("b", {"n": n}) for n in range(50)])
        assert heard(layer) == [(CLOSE, {"turn": 7, "failed": True})]
        thread.join(20)
        assert not thread.is_alive()  # although the grace period is not over and the consumer still hangs
        assert worker.replaced_for == "worker-1 hangs in a consumer of a" or worker.replaced_for == (
            "worker-2 hangs in a consumer of a"
        )
        done = [one.message["n"] for one in everything(layer, "done")]
        left = [one.message["n"] for one in everything(layer, "b")]
        assert done + left == list(range(50))
        stuck.release.set()
        wait_until(lambda: "is back from a after" in caplog.text, "the thread to come back")
    assert "in in_thread" in caplog.text
    assert everything(layer, "daphne.test!") == []


def test_a_thread_that_hangs_while_the_worker_stops_is_given_up_too(layer: MemoryChannelLayer, stuck: Stuck) -> None:
    with working(layer, Routes(a=stuck.in_thread), stuck) as (worker, thread):
        send(layer, "a", {"flow": "worker.test!1"})
        wait_until(lambda: worker._busy, "the consumer to hang")
        worker.stop()
        assert heard(layer) == [({}, {"failed": True})]
        thread.join(20)
        assert not thread.is_alive()
        assert worker.replaced_for is None


def test_a_process_that_stood_still_gives_its_consumers_their_time_once_more_and_no_more(
    layer: MemoryChannelLayer, stuck: Stuck, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    looks: list[int] = []
    real = Hangs.look

    def look(hangs: Hangs) -> None:
        real(hangs)
        looks.append(len(looks))

    monkeypatch.setattr(Hangs, "look", look)
    with working(layer, Routes(a=stuck.in_thread), stuck, consumer_timeout=600.0) as (worker, _):
        send(layer, "a", {"turn": 1})
        wait_until(lambda: worker._busy and looks, "the consumer to hang")
        for _ in range(2):
            clock.ahead += 500.0  # less than it may take, then more
            seen = len(looks)
            wait_until(lambda seen=seen: len(looks) >= seen + 2, "a whole look after the process stood still")
            assert worker.replaced_for is None
        clock.ahead += 500.0
        assert heard(layer) == [(CLOSE, {"turn": 1, "failed": True})]


def test_a_long_response_that_gets_on_is_no_hang(layer: MemoryChannelLayer, stuck: Stuck) -> None:
    def streams(message: Any) -> None:
        until = time.perf_counter() + 3 * TIMEOUT
        while time.perf_counter() < until:
            worker._streams.progress[threading.get_ident()] = time.perf_counter()
            time.sleep(0.01)
        message.reply_channel.send({"text": "all of it"})

    with working(layer, Routes(a=streams), stuck) as (worker, _):
        send(layer, "a", {"turn": 1})
        assert heard(layer) == [({"text": "all of it"}, {"turn": 1})]
        assert worker.replaced_for is None


def test_a_coroutine_that_hangs_is_cancelled_and_the_worker_goes_on(
    layer: MemoryChannelLayer, stuck: Stuck, caplog: pytest.LogCaptureFixture
) -> None:
    with working(layer, Routes(a=stuck.in_coroutine), stuck, consumer_timeout=600.0) as (worker, _):
        send(layer, "a", {"turn": 3})
        assert stuck.begun.wait(60)
        turn_of(worker._loop.get())
        lose_patience(worker)
        assert heard(layer) == [(CLOSE, {"turn": 3, "failed": True})]
        wait_until(lambda: worker._async_runner.is_idle, "its end")
        assert worker.replaced_for is None
        send(layer, "a", {"flow": "worker.test!1"})
        assert heard(layer) == [({}, {"failed": True})]
    assert "is given up" in caplog.text
    assert "await asyncio.sleep(40)" in caplog.text


def test_a_coroutine_that_does_not_end_takes_its_process_with_it(
    layer: MemoryChannelLayer, stuck: Stuck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_loop, "CANCEL_SECONDS", 0.2)
    with working(layer, Routes(a=stuck.stubborn), stuck) as (worker, _):
        send(layer, "a", {"turn": 3})
        assert heard(layer) == [(CLOSE, {"turn": 3, "failed": True})]
        wait_until(lambda: worker.replaced_for, "the worker to stop")
        assert worker.replaced_for is not None
        assert worker.replaced_for.endswith("stubborn does not end although it was cancelled")


def test_a_blocked_event_loop_is_lost_and_all_on_it_are_told(layer: MemoryChannelLayer, stuck: Stuck) -> None:
    with working(layer, Routes(a=stuck.in_coroutine, b=stuck.blocking), stuck) as (worker, thread):
        layer.send_batch([layer.prepare("a", {"reply_channel": "daphne.test!innocent"}, {"turn": 1})])
        wait_until(lambda: worker._async_runner.running(), "the first to wait")
        send(layer, "b", {"turn": 2})
        told = {str(headers): message for message, headers in heard(layer, 2)}
        assert told == {
            "{'turn': 1, 'failed': True}": {},
            "{'turn': 2, 'failed': True}": CLOSE,
        }
        thread.join(20)
        assert not thread.is_alive()
        assert worker.replaced_for == "its event loop is blocked"


def test_a_call_of_async_code_that_hangs_takes_its_process_with_it(
    layer: MemoryChannelLayer, stuck: Stuck, caplog: pytest.LogCaptureFixture
) -> None:
    class Side(SyncSide):
        def hung(self, seconds: float) -> list[threading.Thread]:
            return [threading.current_thread()]

    with working(layer, Routes(a=print), stuck, sync_side=Side()) as (worker, thread):
        thread.join(20)
        assert worker.replaced_for is not None
        assert worker.replaced_for.endswith("hangs in a call of async code")
    assert caplog.text.count("has been in one call of async code") == 1


@pytest.mark.parametrize(
    ("channel", "headers", "hangs", "told"),
    [
        ("websocket.receive", {"turn": 2}, True, [(CLOSE, {"turn": 2, "failed": True})]),
        ("websocket.receive", {"turn": 2}, False, [({}, {"turn": 2, "failed": True})]),
        ("websocket.receive", None, True, [(CLOSE, None)]),
        ("websocket.connect", {"turn": 1}, True, [({}, {"turn": 1, "failed": True}), (CLOSE, None)]),
        ("http.request", {"flow": "f"}, True, [({}, {"failed": True})]),
        ("thumbnails.make", None, True, []),
    ],
)
def test_who_waits_is_told_and_nobody_else(
    channel: str, headers: Headers | None, hangs: bool, told: list[Any], layer: MemoryChannelLayer
) -> None:
    items = answers(layer, Delivery(channel, {}, headers), REPLY, hangs)
    layer.send_batch(items)
    assert [(one.message, one.headers) for one in everything(layer, "daphne.test!")] == told


def test_a_message_without_a_reply_channel_has_nobody_who_waits(layer: MemoryChannelLayer) -> None:
    assert answers(layer, Delivery("a", {}, {"turn": 1}), None, True) == []
