"""``async def`` consumers: many at a time on one event loop, beside the threads, as a worker runs them."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from typing import Any

import pytest

from channel_layer.channel import Channel
from channel_layer.delivery import Delivery
from channel_layer.memory import MemoryChannelLayer
from channel_layer.registry import channel_layers
from workers import Hook, Worker
from workers import async_runner as module
from workers.async_limit import AsyncLimit
from workers.async_runner import AsyncRunner
from workers.event_loop import EventLoop
from workers.exceptions import ChannelSocketException, ConsumeLater
from workers.sync_side import SyncSide

from .interleaving import Scene, interleave
from .tools import FlakyLayer, Frozen, Routes, everything, stop_in_vain, turn_of, working


@pytest.fixture
def layer() -> FlakyLayer:
    return FlakyLayer(capacity=100_000)


def send(layer: Any, channel: str, count: int, **content: Any) -> None:
    layer.send_batch([layer.prepare(channel, {"n": n, **content}) for n in range(count)])


def collect(layer: Any, channel: str, count: int) -> list[Delivery]:
    """Receive so many messages; again and again, for a worker may interrupt all who wait at its layer."""
    found: list[Delivery] = []
    deadline = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count}"
        found += layer.receive_batch([channel], limit=100, timeout=1)
    return found


class Gate:
    """Consumers that wait until the test lets them go on, and how many of them wait."""

    def __init__(self) -> None:
        self.waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self.begun = 0
        self.most = 0
        self.now = 0

    async def __call__(self, message: Any) -> None:
        event = asyncio.Event()
        self.begun += 1
        self.now += 1
        self.most = max(self.most, self.now)
        self.waiting.append((asyncio.get_running_loop(), event))
        try:
            await event.wait()
        finally:
            self.now -= 1
        message.reply_channel.send({"n": message["n"]})

    def open(self, count: int = 1_000_000) -> None:
        while self.waiting and count:
            loop, event = self.waiting.pop(0)
            loop.call_soon_threadsafe(event.set)
            count -= 1

    def routes(self, **others: Any) -> Routes:
        async def gated(message: Any) -> None:
            await self(message)

        return Routes(a=gated, **others)


def test_many_wait_at_the_same_time_on_one_thread_and_hold_up_nobody(layer: FlakyLayer, eventually: Any) -> None:
    gate = Gate()
    router = gate.routes(b=lambda message: message.reply_channel.send({"thread": threading.current_thread().name}))
    with working(layer, router, threads=1):
        send(layer, "a", 50, reply_channel="out")
        eventually(lambda: gate.begun == 50, "all to wait")
        layer.send("b", {"reply_channel": "sync"})
        assert collect(layer, "sync", 1)[0].message == {"thread": "worker-1"}
        gate.open()
        assert sorted(found.message["n"] for found in collect(layer, "out", 50)) == list(range(50))


def test_no_more_run_than_there_are_places_and_the_rest_stays_on_the_channel(
    layer: FlakyLayer, eventually: Any
) -> None:
    gate = Gate()
    with working(layer, gate.routes(), threads=3, async_tasks=2):
        send(layer, "a", 20, reply_channel="out")
        eventually(lambda: gate.begun == 2 and layer.channel_statistics("a")["messages_pending"] == 18, "the limit")
        other = Gate()
        with working(layer, other.routes(), threads=1, async_tasks=100):
            eventually(lambda: other.begun == 18, "another worker to take the rest")
            gate.open()
            other.open()
            collect(layer, "out", 20)
    assert gate.most == 2


def test_all_are_run_in_the_end_however_few_places_there_are(layer: FlakyLayer) -> None:
    at_once: list[int] = []
    running = 0

    async def consumer(message: Any) -> None:
        nonlocal running
        running += 1
        at_once.append(running)
        await asyncio.sleep(0.001)
        running -= 1
        message.reply_channel.send({"n": message["n"]})

    with working(layer, Routes(a=consumer, b=lambda message: None), threads=2, async_tasks=3):
        send(layer, "a", 300, reply_channel="out")
        assert sorted(found.message["n"] for found in collect(layer, "out", 300)) == list(range(300))
    assert max(at_once) <= 3


def test_one_thread_and_one_place_keep_the_order(layer: FlakyLayer) -> None:
    seen: list[int] = []

    async def consumer(message: Any) -> None:
        await asyncio.sleep(0)
        seen.append(message["n"])
        message.reply_channel.send({})

    with working(layer, Routes(a=consumer), threads=1, async_tasks=1):
        send(layer, "a", 100, reply_channel="out")
        collect(layer, "out", 100)
    assert seen == list(range(100))


def test_sync_consumers_go_on_while_all_places_are_taken_also_on_the_same_channel(
    layer: FlakyLayer, eventually: Any
) -> None:
    gate = Gate()
    mixed: list[int] = []

    def consumer(message: Any) -> Any:
        return gate(message) if message.get("wait") else mixed.append(message["n"])

    with working(layer, Routes(a=consumer, b=lambda m: m.reply_channel.send({})), threads=2, async_tasks=1):
        layer.send("a", {"n": 0, "wait": True, "reply_channel": "out"})
        eventually(lambda: gate.begun == 1, "the first")
        send(layer, "b", 20, reply_channel="sync")
        collect(layer, "sync", 20)
        send(layer, "a", 10)
        gate.open()
        eventually(lambda: len(mixed) == 10, "the sync ones")
        layer.send("a", {"n": 1, "wait": True, "reply_channel": "out"})
        eventually(lambda: gate.begun == 2, "the place not to have been lost")
        gate.open()


def test_each_collects_its_own_sends_and_ends_its_own_turn(layer: FlakyLayer) -> None:
    async def consumer(message: Any) -> None:
        reply = message.reply_channel
        reply.send({"part": 1, "n": message["n"]})
        await asyncio.sleep(0)
        await reply.asend({"part": 2, "n": message["n"]})
        message.state = {"n": b"state"}

    with working(layer, Routes(a=consumer)):
        items = [layer.prepare("a", {"n": n, "reply_channel": f"r{n}"}, {"turn": n}) for n in range(20)]
        layer.send_batch(items)
        for n in range(20):
            first, last = collect(layer, f"r{n}", 2)
            assert (first.message, first.headers) == ({"part": 1, "n": n}, None)
            assert (last.message, last.headers) == ({"part": 2, "n": n}, {"turn": n, "state": {"n": b"state"}})


class Closing(ChannelSocketException):
    def run(self, message: Any) -> None:
        asyncio_free = threading.current_thread().name
        message.reply_channel.send({"close": True, "on_loop": asyncio_free == "worker-async"})


@pytest.mark.parametrize(
    ("error", "replies"),
    [
        (ValueError("x"), [({}, {"turn": 7, "failed": True})]),
        (SystemExit(3), [({}, {"turn": 7, "failed": True})]),
        (KeyboardInterrupt(), [({}, {"turn": 7, "failed": True})]),
        (asyncio.CancelledError(), [({}, {"turn": 7, "failed": True})]),
        (Closing(), [({"text": "queued"}, None), ({"close": True, "on_loop": False}, {"turn": 7})]),
    ],
    ids=repr,
)
def test_what_one_raises_is_dealt_with_as_in_a_thread(error: BaseException, replies: Any, layer: FlakyLayer) -> None:
    async def consumer(message: Any) -> None:
        message.reply_channel.send({"text": "queued"})
        await asyncio.sleep(0)
        raise error

    async def fine(message: Any) -> None:
        message.reply_channel.send({})

    with working(layer, Routes(a=consumer, b=fine)):
        layer.send_batch([layer.prepare("a", {"reply_channel": "out"}, {"turn": 7})])
        assert [(one.message, one.headers) for one in collect(layer, "out", len(replies))] == replies
        layer.send("b", {"reply_channel": "still"})
        collect(layer, "still", 1)


def test_a_task_that_exits_ends_neither_the_loop_nor_other_consumers(layer: FlakyLayer) -> None:
    async def exits() -> None:
        raise SystemExit(3)

    async def consumer(message: Any) -> None:
        if message["n"] == 0:
            task = asyncio.create_task(exits())
            await asyncio.wait([task])
        message.reply_channel.send({"n": message["n"]})

    with working(layer, Routes(a=consumer)):
        send(layer, "a", 3, reply_channel="out")
        assert sorted(one.message["n"] for one in collect(layer, "out", 3)) == [0, 1, 2]


def test_one_that_wants_its_message_later_gets_it_again(layer: FlakyLayer) -> None:
    tries: list[int] = []

    async def consumer(message: Any) -> None:
        tries.append(message.headers.get("tries", 0))
        await asyncio.sleep(0)
        if len(tries) < 3:
            raise ConsumeLater
        message.reply_channel.send({})

    with working(layer, Routes(a=consumer)):
        layer.send("a", {"reply_channel": "out"})
        collect(layer, "out", 1)
    assert tries == [0, 1, 2]


class Recording(Hook):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def before(self, message: Any) -> None:
        self.seen.append(("before", threading.current_thread().name))
        message.reply_channel.send({"text": "before"})

    def after(self, message: Any, error: BaseException | None) -> None:
        self.seen.append(("after", type(error).__name__))
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        message.reply_channel.send({"text": "after"})


def test_hooks_run_around_it_off_the_loop_and_send_with_it(layer: FlakyLayer) -> None:
    async def consumer(message: Any) -> None:
        hook.seen.append(("consumer", threading.current_thread().name))
        message.reply_channel.send({"text": "consumer"})

    hook = Recording()
    with working(layer, Routes(a=consumer), threads=1, hooks=[hook]):
        layer.send("a", {"reply_channel": "out"})
        assert [one.message["text"] for one in collect(layer, "out", 3)] == ["before", "consumer", "after"]
    assert hook.seen == [("before", "worker-1"), ("consumer", "worker-async"), ("after", "NoneType")]


def test_on_message_is_told_how_long_it_took_from_beginning_to_end(layer: FlakyLayer, eventually: Any) -> None:
    told: list[Any] = []

    async def consumer(message: Any) -> None:
        await asyncio.sleep(0.05)

    with working(layer, Routes(a=consumer), on_message=lambda *told_: told.append(told_)) as worker:
        layer.send("a", {})
        eventually(lambda: told, "the report")
        assert worker._fetcher.pace.limit > 0
    [(message, seconds, outcome)] = told
    assert (message.channel.name, outcome) == ("a", "ok")
    assert seconds >= 0.05


def test_waiting_does_not_make_a_consumer_count_as_slow(layer: FlakyLayer, eventually: Any) -> None:
    gate = Gate()
    with working(layer, gate.routes(), threads=1) as worker:
        for _ in range(50):
            worker._fetcher.pace.record(0)
        send(layer, "a", 5, reply_channel="out")
        eventually(lambda: gate.begun == 5, "all to wait")
        recorded = worker._fetcher.pace._seconds
        time.sleep(0.02)
        gate.open()
        collect(layer, "out", 5)
        assert worker._fetcher.pace._seconds == recorded


def test_context_variables_are_each_messages_own(layer: FlakyLayer) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=-1)

    async def child() -> int:
        return variable.get()

    async def consumer(message: Any) -> None:
        before = variable.get()
        variable.set(message["n"])
        await asyncio.sleep(0.001)
        seen = [variable.get(), await asyncio.create_task(child()), await asyncio.to_thread(variable.get)]
        message.reply_channel.send({"n": message["n"], "before": before, "seen": seen})

    with working(layer, Routes(a=consumer), threads=2):
        send(layer, "a", 30, reply_channel="out")
        for one in collect(layer, "out", 30):
            assert one.message["before"] == -1
            assert one.message["seen"] == [one.message["n"]] * 3


def test_tasks_it_leaves_behind_are_cancelled_and_those_of_others_are_not(layer: FlakyLayer, eventually: Any) -> None:
    gate = Gate()
    ended = threading.Event()

    async def linger() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async def leaves(message: Any) -> None:
        tasks.append(asyncio.create_task(linger()))
        await asyncio.sleep(0)

    tasks: list[Any] = []
    with working(layer, gate.routes(b=leaves)):
        send(layer, "a", 1, reply_channel="out")
        eventually(lambda: gate.begun, "the other")
        layer.send("b", {})
        assert ended.wait(20)
        gate.open()
        collect(layer, "out", 1)


def test_a_stop_waits_for_those_that_run_and_sends_what_they_said(layer: FlakyLayer, eventually: Any) -> None:
    gate = Gate()
    results: list[bool] = []
    worker = Worker(layer, gate.routes(), grace=20, signal_handlers=False)
    thread = threading.Thread(target=lambda: results.append(worker.run()))
    thread.start()
    send(layer, "a", 10, reply_channel="out")
    eventually(lambda: gate.begun == 10, "all to wait")
    worker.stop()
    own = {f"worker-{number}" for number in range(1, 5)}
    eventually(lambda: own.isdisjoint(one.name for one in threading.enumerate()), "the threads to end")
    send(layer, "a", 1)
    gate.open()
    thread.join(30)
    assert results == [True]
    assert len(everything(layer, "out")) == 10
    assert len(everything(layer, "a")) == 1


def test_a_stop_cancels_after_the_grace_period_and_gives_back_what_has_not_begun(
    layer: FlakyLayer, eventually: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    results: list[bool] = []
    worker = Worker(layer, gate.routes(), threads=4, async_tasks=2, grace=0.2, signal_handlers=False)
    thread = threading.Thread(target=lambda: results.append(worker.run()))
    items = [layer.prepare("a", {"n": n, "reply_channel": f"r{n}"}, {"turn": n}) for n in range(10)]
    layer.send_batch(items)
    thread.start()
    eventually(lambda: gate.begun == 2, "two to wait")
    worker.stop()
    thread.join(30)
    assert results == [False]
    assert caplog.text.count("has not ended in time and is cancelled") == 2
    left = everything(layer, "a")
    failed = [
        n for n in range(10) if [one.headers for one in everything(layer, f"r{n}")] == [{"turn": n, "failed": True}]
    ]
    assert len(failed) == 2
    assert sorted([one.message["n"] for one in left] + failed) == list(range(10))
    assert all(one.headers == {"turn": one.message["n"]} for one in left)


def test_what_runs_after_one_is_not_cancelled_and_its_reply_is_sent(
    layer: FlakyLayer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelling, returned = threading.Event(), threading.Event()

    class Slow(Hook):
        def after(self, message: Any, error: BaseException | None) -> None:
            returned.set()
            assert cancelling.wait(30)

    real = AsyncRunner._cancel

    def cancel(tasks: AsyncRunner) -> None:
        real(tasks)
        asyncio.get_running_loop().call_soon(cancelling.set)

    async def consumer(message: Any) -> None:
        message.reply_channel.send({"n": 1})

    monkeypatch.setattr(AsyncRunner, "_cancel", cancel)
    worker = Worker(layer, Routes(a=consumer), grace=0.05, hooks=[Slow()], signal_handlers=False)
    thread = threading.Thread(target=worker.run)
    thread.start()
    layer.send("a", {"reply_channel": "out"})
    assert returned.wait(20)
    worker.stop()
    thread.join(30)
    assert [found.message for found in everything(layer, "out")] == [{"n": 1}]
    # Threads that took nothing may be left behind after so short a grace, on a machine with much else to do.
    assert "cancelled" not in caplog.text


def test_two_threads_that_begin_the_first_ones_start_one_helper() -> None:
    async def at_end() -> None:
        """Nothing is held."""

    def scene() -> Scene:
        tasks = AsyncRunner(EventLoop(at_end), AsyncLimit(1), SyncSide(), *[lambda *finished: True] * 3, lambda: None)

        def check() -> None:
            names = [one.name for one in threading.enumerate()]
            assert tasks.close()
            assert names.count("worker-async-sender") == 1

        return tasks._start_helper, tasks._start_helper, check

    interleave(scene, module)


def test_one_that_cannot_be_cancelled_is_left_behind(
    layer: FlakyLayer, eventually: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.event_loop.CANCEL_SECONDS", 0.2)
    release, begun = threading.Event(), threading.Event()

    async def blocks(message: Any) -> None:
        begun.set()
        release.wait(30)

    try:
        assert not stop_in_vain(layer, Routes(a=blocks), begun)
        assert "blocks on a does not end although it was cancelled" in caplog.text
    finally:
        release.set()


def test_one_that_runs_for_long_is_reported_once_with_where_it_waits(
    layer: FlakyLayer, eventually: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    with working(layer, gate.routes()) as worker:
        send(layer, "a", 1, reply_channel="out")
        eventually(lambda: gate.waiting, "it to begin")
        turn_of(gate.waiting[0][0])
        worker.hung_seconds = 0.05
        eventually(lambda: "has run for" in caplog.text, "the report")
        assert "await event.wait()" in caplog.text
        gate.open()
        collect(layer, "out", 1)
    assert caplog.text.count("has run for") == 1


def test_one_that_blocks_the_loop_is_reported_with_where_it_blocks(
    layer: FlakyLayer, eventually: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.event_loop.HELD_UP_SECONDS", 3_600.0)
    release, begun = threading.Event(), threading.Event()

    async def blocks_here(message: Any) -> None:
        begun.set()
        release.wait(30)

    try:
        with working(layer, Routes(a=blocks_here)):
            layer.send("a", {})
            assert begun.wait(20)
            monkeypatch.setattr("workers.event_loop.HELD_UP_SECONDS", 0.1)
            eventually(lambda: "has held up all others" in caplog.text, "the report")
            assert "in blocks_here" in caplog.text
            release.set()
    finally:
        release.set()


def test_messages_for_a_loop_that_is_held_up_go_to_another_worker(layer: FlakyLayer, eventually: Any) -> None:
    release, begun = threading.Event(), threading.Event()

    async def blocks(message: Any) -> None:
        begun.set()
        release.wait(30)

    async def works(message: Any) -> None:
        message.reply_channel.send({"n": message["n"]})

    try:
        with working(layer, Routes(a=blocks), threads=1):
            send(layer, "a", 1)
            assert begun.wait(20)
            send(layer, "a", 10, reply_channel="out")
            with working(layer, Routes(a=works), threads=1):
                assert sorted(one.message["n"] for one in collect(layer, "out", 10)) == list(range(10))
            release.set()
    finally:
        release.set()


def test_a_worker_without_coroutines_has_no_loop(layer: FlakyLayer) -> None:
    with working(layer, Routes(a=lambda message: message.reply_channel.send({}))):
        send(layer, "a", 1, reply_channel="out")
        collect(layer, "out", 1)
        assert not [one for one in threading.enumerate() if one.name.startswith("worker-async")]


def test_its_threads_end_with_the_worker(layer: FlakyLayer) -> None:
    async def consumer(message: Any) -> None:
        await Channel("out", channel_layer=layer).asend({})

    for _ in range(3):
        with working(layer, Routes(a=consumer)):
            send(layer, "a", 1)
            collect(layer, "out", 1)
        assert not [one for one in threading.enumerate() if one.name.startswith("worker-async")]


def work_beside_another(layer: FlakyLayer) -> FlakyLayer:
    """Have a worker run a coroutine and end, with a second layer in the project, which is returned."""

    async def consumer(message: Any) -> None:
        message.reply_channel.send({})

    other = FlakyLayer()
    before = channel_layers.set("another", other)
    try:
        with working(layer, Routes(a=consumer)):
            send(layer, "a", 1, reply_channel="out")
            collect(layer, "out", 1)
    finally:
        channel_layers.set("another", before)
    return other


def test_at_the_end_every_layer_lets_go_of_the_loop_also_after_one_that_cannot(
    layer: FlakyLayer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[tuple[FlakyLayer, str]] = []

    async def aclose(closing: FlakyLayer) -> None:
        closed.append((closing, threading.current_thread().name))
        if closing is layer:
            raise ZeroDivisionError

    monkeypatch.setattr(FlakyLayer, "aclose", aclose)
    other = work_beside_another(layer)
    assert closed == [(layer, "worker-async"), (other, "worker-async")]
    assert "could not be closed on the event loop" in caplog.text


def test_at_the_end_no_layer_waits_for_another_to_let_go_of_the_loop(
    layer: FlakyLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[FlakyLayer] = []
    both = asyncio.Event()

    async def aclose(closing: FlakyLayer) -> None:
        closed.append(closing)
        if len(closed) == 2:
            both.set()
        await both.wait()

    monkeypatch.setattr(FlakyLayer, "aclose", aclose)
    other = work_beside_another(layer)
    assert closed == [layer, other]


def test_one_that_sent_where_there_is_no_room_keeps_its_place_and_holds_up_no_other(
    layer: FlakyLayer, frozen: Frozen, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.sender.MOST_KEPT", 0)

    async def consumer(message: Any) -> None:
        if message["n"] == 0:
            Channel("a", channel_layer=frozen).send({"n": 0})
        message.reply_channel.send({"n": message["n"]})

    with working(layer, Routes(a=consumer), async_tasks=2) as worker:
        send(layer, "a", 1, reply_channel="out")
        assert frozen.asked.wait(20)
        for number in range(1, 20):
            layer.send("a", {"n": number, "reply_channel": "out"})
        assert [found.message["n"] for found in collect(layer, "out", 20)] == list(range(20))
        eventually(lambda: worker._async_limit.taken == 1, "the end of the others")
        assert not worker._async_runner.is_idle
        frozen.thawed.set()
        eventually(lambda: worker._async_runner.is_idle, "the end of the first")
    assert [found.message["n"] for found in everything(frozen, "a")] == [0]


def test_what_goes_to_another_layer_waits_for_no_answer_of_the_own_one(frozen: Frozen, eventually: Any) -> None:
    gate, other = Gate(), MemoryChannelLayer()

    async def consumer(message: Any) -> None:
        message.content["reply_channel"] = "out"
        await gate(message)
        Channel("b", channel_layer=other).send({"n": message["n"]})

    with working(frozen, Routes(a=consumer)):
        frozen.thawed.set()
        send(frozen, "a", 2, reply_channel="out")
        eventually(lambda: gate.now == 2, "both")
        frozen.thawed.clear()
        frozen.asked.clear()
        gate.open(1)
        assert frozen.asked.wait(20)
        gate.open()
        assert [found.message["n"] for found in collect(other, "b", 2)] == [0, 1]
        frozen.thawed.set()
        assert len(collect(frozen, "out", 2)) == 2


def test_a_worker_that_stops_waits_for_no_room(
    layer: FlakyLayer, frozen: Frozen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("workers.sender.MOST_KEPT", 0)

    async def consumer(message: Any) -> None:
        Channel("a", channel_layer=frozen).send({})

    with working(layer, Routes(a=consumer), grace=0.1):
        send(layer, "a", 1)
        assert frozen.asked.wait(20)
    assert "cancelled" not in caplog.text
    assert "1 messages may be lost" in caplog.text
