"""Streams: what goes on when its consumer has ended, with a real worker."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from channel_layer.channel import Channel
from workers import Stream, Worker
from workers.streams import current_streams

from .tools import FlakyLayer, Routes, everything, stop_in_vain, working

SOON = 0.2
"""The grace period of workers whose streams would wait for ever."""


@pytest.fixture
def layer() -> FlakyLayer:
    return FlakyLayer(capacity=100_000)


class Waiting(Stream):
    """Says that it has begun, and waits for its end; keeps what happens to it."""

    def __init__(self, events: list[str], name: str = "waiting", finite: bool = False) -> None:
        self.name = name
        self.is_finite = finite
        self.events = events

    async def run(self) -> None:
        self.events.append(f"{self.name} begun on {threading.current_thread().name}")
        try:
            await asyncio.sleep(3600)
        finally:
            self.events.append(f"{self.name} ended")

    def refuse(self) -> None:
        Channel("refused", channel_layer=self.layer).send({"name": self.name})

    layer: Any = None


class Doing(Waiting):
    """Does what the test says."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__([], "doing")
        self._work = work

    async def run(self) -> None:
        await self._work()


def returning(make: Callable[[Any], Stream]) -> Routes:
    def consumer(message: Any) -> Stream:
        return make(message)

    return Routes(a=consumer, b=lambda message: message.reply_channel.send({}))


def begun(events: list[str]) -> int:
    return sum("begun" in event for event in events)


def test_it_runs_on_the_loop_and_keeps_neither_thread_nor_place(layer: FlakyLayer, eventually: Any) -> None:
    events: list[str] = []
    with working(layer, returning(lambda message: Waiting(events)), threads=1, async_tasks=1, grace=SOON):
        for _ in range(50):
            layer.send("a", {})
        eventually(lambda: begun(events) == 50, "all to begin")
        layer.send("b", {"reply_channel": "out"})
        eventually(lambda: everything(layer, "out"), "an answer from the only thread")
        assert set(events) == {"waiting begun on worker-async"}
    assert events.count("waiting ended") == 50


def test_beyond_the_limit_it_refuses_inside_its_consumer(
    layer: FlakyLayer, eventually: Any, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[str] = []

    def make(message: Any) -> Stream:
        stream = Waiting(events, message["name"])
        stream.layer = layer
        return stream

    with working(layer, returning(make), threads=1, streams=2, grace=SOON):
        for name in "klmn":
            layer.send("a", {"name": name})
        eventually(lambda: layer.channel_statistics("refused")["messages_pending"] == 2, "two refusals")
    assert [one.message["name"] for one in everything(layer, "refused")] == ["m", "n"]
    assert caplog.text.count("streams are turned away: there are 2") == 1


def test_what_it_sends_leaves_at_once(layer: FlakyLayer, eventually: Any) -> None:
    async def work() -> None:
        await Channel("out", channel_layer=layer).asend({"n": 1})
        await asyncio.sleep(3600)

    with working(layer, returning(lambda message: Doing(work)), grace=SOON):
        layer.send("a", {})
        eventually(lambda: everything(layer, "out"), "the message of a stream that goes on")


def test_what_the_consumer_sent_and_its_turn_do_not_wait_for_it(layer: FlakyLayer, eventually: Any) -> None:
    def make(message: Any) -> Stream:
        message.reply_channel.send({"n": 1})
        return Waiting([])

    with working(layer, returning(make), grace=SOON):
        layer.send_batch([layer.prepare("a", {"reply_channel": "out"}, {"turn": 5})])
        replies = eventually(lambda: everything(layer, "out"), "the end of the turn")
        assert [(one.message, one.headers) for one in replies] == [({"n": 1}, {"turn": 5})]


def test_an_error_of_one_is_logged_and_ends_no_other(
    layer: FlakyLayer, eventually: Any, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[str] = []

    async def fails() -> None:
        raise SystemExit("no good")

    streams = iter([Waiting(events), Doing(fails), Waiting(events)])
    with working(layer, returning(lambda message: next(streams)), threads=1, grace=SOON):
        for _ in range(3):
            layer.send("a", {})
        eventually(lambda: begun(events) == 2 and "error in doing" in caplog.text, "all three")
        assert "waiting ended" not in events


def test_tasks_it_leaves_behind_end_with_it(layer: FlakyLayer, eventually: Any) -> None:
    ended = threading.Event()

    async def linger() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async def work() -> None:
        tasks.append(asyncio.create_task(linger()))
        await asyncio.sleep(0)

    tasks: list[Any] = []
    with working(layer, returning(lambda message: Doing(work))):
        layer.send("a", {})
        assert ended.wait(20)


def test_consumers_in_threads_and_on_the_loop_find_the_streams_of_their_worker(
    layer: FlakyLayer, eventually: Any
) -> None:
    seen: list[Any] = []

    async def asynchronous(message: Any) -> None:
        seen.append(current_streams.get())

    with working(layer, Routes(a=asynchronous, b=lambda message: seen.append(current_streams.get()))) as worker:
        layer.send("a", {})
        layer.send("b", {})
        eventually(lambda: len(seen) == 2, "both")
        assert seen == [worker._streams] * 2
    assert current_streams.get() is None


@pytest.mark.parametrize(("finite", "grace", "least", "most"), [(False, 60, 0, 30), (True, 0.5, 0.5, 60)])
def test_a_stop_ends_endless_ones_after_their_share_and_others_after_the_whole_grace(
    layer: FlakyLayer, eventually: Any, monkeypatch: pytest.MonkeyPatch,
    finite: bool, grace: float, least: float, most: float,
) -> None:  # fmt: skip
    monkeypatch.setattr("workers.worker.SHARE_AT_STOP", 0.001)
    events: list[str] = []
    results: list[bool] = []
    worker = Worker(
        layer, returning(lambda message: Waiting(events, finite=finite)), grace=grace, signal_handlers=False
    )
    thread = threading.Thread(target=lambda: results.append(worker.run()))
    thread.start()
    layer.send("a", {})
    eventually(lambda: begun(events), "the stream")
    began = time.monotonic()
    worker.stop()
    thread.join(80)
    assert least <= time.monotonic() - began < most
    assert events[-1] == "waiting ended"
    assert results == [True]


def test_one_that_cannot_be_cancelled_is_left_behind(
    layer: FlakyLayer, eventually: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.event_loop.CANCEL_SECONDS", 0.2)
    release, started = threading.Event(), threading.Event()

    async def work() -> None:
        started.set()
        release.wait(30)

    try:
        assert not stop_in_vain(layer, returning(lambda message: Doing(work)), started)
        assert "doing does not end although it was cancelled" in caplog.text
    finally:
        release.set()


def test_the_client_of_a_thread_that_is_left_behind_is_told(layer: FlakyLayer) -> None:
    release, begun, told = threading.Event(), threading.Event(), threading.Event()

    def consumer(message: Any) -> None:
        streams = current_streams.get()
        assert streams is not None
        ended = streams.in_thread(lambda: None)
        ended()
        streams.in_thread(told.set)
        begun.set()
        release.wait(30)

    try:
        assert not stop_in_vain(layer, Routes(a=consumer), begun)
        assert told.is_set()
    finally:
        release.set()
