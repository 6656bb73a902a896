from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import Any

import pytest

from channel_layer.channel import Channel
from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from channel_layer.messages import RESUME
from workers import Hook, Worker
from workers.exceptions import ConsumeLater
from workers.instances import HOSTS, Hosted

from .tools import FlakyLayer, Frozen, Routes, everything, received, stop_in_vain, working


@pytest.fixture
def layer() -> FlakyLayer:
    return FlakyLayer(capacity=100_000)


def test_consumers_run_in_all_threads_at_once(layer: FlakyLayer) -> None:
    together = threading.Barrier(5)
    with working(layer, Routes(a=lambda message: together.wait(20)), threads=4):
        for _ in range(4):
            layer.send("a", {})
        together.wait(20)
    assert not together.broken


def test_a_reply_arrives_although_no_further_message_comes(layer: FlakyLayer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.fetcher.FETCH_SECONDS", 3_600.0)  # the end of a fetch cannot be what sends the reply

    def slow(message: Any) -> None:
        time.sleep(0.05)
        message.reply_channel.send({"done": True})

    with working(layer, Routes(a=slow)):
        for _ in range(3):
            layer.send("a", {"reply_channel": "reply"})
            assert received(layer, "reply")


@pytest.mark.parametrize("threads", [1, 4])
def test_replies_do_not_wait_for_a_slow_consumer_behind_them(threads: int, layer: FlakyLayer, eventually: Any) -> None:
    release = threading.Event()

    def consumer(message: Any) -> None:
        if message["kind"] == "slow":
            assert release.wait(30)
        message.reply_channel.send({})

    try:
        with working(layer, Routes(a=consumer), threads=threads) as worker:
            for _ in range(200):  # consumers are known to be fast now, so several messages are fetched at once
                worker._fetcher.pace.record(0)
            layer.send_batch(
                [layer.prepare("a", {"kind": kind, "reply_channel": kind}) for kind in ["fast"] + ["slow"] * threads]
            )
            assert received(layer, "fast")
            release.set()
    finally:
        release.set()


def test_prefetched_messages_behind_a_slow_consumer_are_run_by_other_threads(
    layer: FlakyLayer, eventually: Any
) -> None:
    release = threading.Event()
    seen: list[int] = []

    def consumer(message: Any) -> None:
        if message["n"] == 0:
            assert release.wait(30)
        seen.append(message["n"])

    try:
        with working(layer, Routes(a=consumer), threads=2) as worker:
            for _ in range(200):
                worker._fetcher.pace.record(0)
            layer.send_batch([layer.prepare("a", {"n": n}) for n in range(20)])
            eventually(lambda: sorted(seen) == list(range(1, 20)), "all but the slow one")
            release.set()
    finally:
        release.set()


def test_prefetched_messages_go_to_another_worker_when_all_threads_are_busy(layer: FlakyLayer, eventually: Any) -> None:
    release = threading.Event()
    blocked = threading.Event()
    seen: list[int] = []

    def stuck(message: Any) -> None:
        blocked.set()
        assert release.wait(30)

    try:
        with working(layer, Routes(a=stuck), threads=1) as worker:
            for _ in range(200):
                worker._fetcher.pace.record(0)
            layer.send_batch([layer.prepare("a", {"n": n}) for n in range(20)])
            assert blocked.wait(20)
            with working(layer, Routes(a=lambda message: seen.append(message["n"])), threads=1):
                eventually(lambda: len(seen) == 19, "the other worker to run them")
            release.set()
        assert seen == list(range(1, 20))
    finally:
        release.set()


def test_a_stop_loses_nothing_and_leaves_the_rest_on_the_channel(layer: FlakyLayer) -> None:
    seen: list[int] = []

    def consumer(message: Any) -> None:
        seen.append(message["n"])
        Channel("out", channel_layer=layer).send({"n": message["n"]})

    sent = 0
    for _ in range(10):
        with working(layer, Routes(a=consumer)):
            layer.send_batch([layer.prepare("a", {"n": n}) for n in range(sent, sent + 500)])
            sent += 500
    left = [found.message["n"] for found in everything(layer, "a")]
    assert sorted(seen + left) == list(range(sent))
    assert sorted(found.message["n"] for found in everything(layer, "out")) == sorted(seen)


def poison(message: Any) -> None:
    kind = message["kind"]
    if kind == "raise":
        raise ValueError("poison")
    if kind == "exit":
        raise SystemExit(1)
    if kind == "recurse":
        poison(message)
    Channel("out", channel_layer=message.channel_layer).send({})


def test_a_hundred_poisonous_messages_end_no_thread(layer: FlakyLayer, eventually: Any) -> None:
    kinds = (["raise", "exit", "recurse"] * 34)[:100]
    with working(layer, Routes(a=poison)) as worker:
        for n in range(1000):
            layer.send("a", {"kind": kinds[n // 10] if n % 10 == 0 else "good"})
        eventually(lambda: layer.channel_statistics("out")["messages_pending"] == 900, "the 900 good ones")
        assert sum(thread.name.startswith("worker-") for thread in threading.enumerate()) >= worker.threads


def test_a_message_that_cannot_even_be_read_ends_no_thread(layer: FlakyLayer, caplog: pytest.LogCaptureFixture) -> None:
    with working(layer, Routes(a=lambda message: message.reply_channel.send({})), threads=1):
        layer.send("a", {"reply_channel": 5})
        layer.send("a", {"reply_channel": "out"})
        assert received(layer, "out")
    assert "a message on a could not be dealt with" in caplog.text


@pytest.mark.parametrize("error", [ValueError(), SystemExit(), LayerConfigurationError("x")], ids=repr)
def test_on_message_may_raise_anything(layer: FlakyLayer, error: BaseException) -> None:
    told: list[Any] = []

    def on_message(message: Any, seconds: float, outcome: str) -> None:
        told.append((message.channel.name, outcome, seconds >= 0))
        raise error

    with working(layer, Routes(a=lambda message: message.reply_channel.send({})), threads=1, on_message=on_message):
        for _ in range(2):
            layer.send("a", {"reply_channel": "out"})
            assert received(layer, "out")
    assert told == [("a", "ok", True)] * 2


def test_errors_of_the_layer_end_no_thread(layer: FlakyLayer) -> None:
    layer.receive_errors = [
        LayerUnavailable("here", "away"), LayerConfigurationError("wrong password"), ZeroDivisionError(), MemoryError(),
    ]  # fmt: skip
    with working(layer, Routes(a=lambda message: message.reply_channel.send({}))):
        layer.send("a", {"reply_channel": "out"})
        assert received(layer, "out")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_all_the_same_is_replaced(layer: FlakyLayer, caplog: pytest.LogCaptureFixture) -> None:
    layer.receive_errors = [SystemExit()]  # a thread ends silently on it
    with working(layer, Routes(a=lambda message: message.reply_channel.send({})), threads=1):
        layer.send("a", {"reply_channel": "out"})
        assert received(layer, "out")
    assert "worker-1 has ended unexpectedly; another takes its place" in caplog.text


def test_a_hung_consumer_is_reported_once_with_where_it_hangs(
    layer: FlakyLayer, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    release, begun = threading.Event(), threading.Event()

    def hangs_here(message: Any) -> None:
        begun.set()
        assert release.wait(30)

    try:
        with working(layer, Routes(a=hangs_here, b=lambda message: message.reply_channel.send({}))) as worker:
            layer.send("a", {})
            assert begun.wait(20)
            worker.hung_seconds = 0.05
            eventually(lambda: "has been in a consumer of a for" in caplog.text, "the report")
            assert "in hangs_here" in caplog.text
            layer.send("b", {"reply_channel": "out"})
            assert received(layer, "out")
            release.set()
    finally:
        release.set()
    assert caplog.text.count("has been in a consumer of a for") == 1


def test_a_consumer_that_does_not_end_is_left_behind_after_the_grace_period(
    layer: FlakyLayer, caplog: pytest.LogCaptureFixture
) -> None:
    release, begun = threading.Event(), threading.Event()

    def stuck(message: Any) -> None:
        begun.set()
        assert release.wait(30)

    try:
        assert not stop_in_vain(layer, Routes(a=stuck), begun, threads=1)
    finally:
        release.set()
    assert "worker-1 is still in a consumer of a" in caplog.text


def test_a_message_consumed_later_lets_others_pass_and_keeps_its_turn(layer: FlakyLayer, eventually: Any) -> None:
    ready = threading.Event()

    def consumer(message: Any) -> None:
        if message["n"] == 0 and not ready.is_set():
            raise ConsumeLater
        message.reply_channel.send({"n": message["n"]})

    with working(layer, Routes(a=consumer), threads=1):
        layer.send_batch([layer.prepare("a", {"n": n, "reply_channel": f"r{n}"}, {"turn": n + 1}) for n in range(3)])
        for n in (1, 2):
            assert [found.headers for found in received(layer, f"r{n}")] == [{"turn": n + 1}]
        ready.set()
        told: list[Any] = []
        eventually(lambda: told.extend(everything(layer, "r0")) or (told and told[-1].message), "the reply")
        assert (told[-1].message, told[-1].headers) == ({"n": 0}, {"turn": 1})
        assert [one.headers for one in told[:-1]] == [{"later": 1}] * (len(told) - 1)


def test_async_consumers_run_beside_each_other(layer: FlakyLayer) -> None:
    together = threading.Barrier(3)

    async def consumer(message: Any) -> None:
        await asyncio.to_thread(together.wait, 20)
        message.reply_channel.send({})

    with working(layer, Routes(a=consumer), threads=3):
        for _ in range(3):
            layer.send("a", {"reply_channel": "out"})
        for _ in range(3):
            assert received(layer, "out")


class Telling(Hook):
    def __init__(self) -> None:
        self.told: list[str] = []

    def worker_process_ready(self, worker: Any) -> None:
        self.told.append(f"process, {sum(t.name.startswith('worker-') for t in threading.enumerate())} threads")

    def worker_ready(self, worker: Any) -> None:
        self.told.append("ready")
        worker.stop()


def test_hooks_learn_of_the_start(layer: FlakyLayer) -> None:
    hook = Telling()
    assert Worker(layer, Routes(a=print), hooks=[hook], signal_handlers=False).run()
    assert hook.told == ["process, 0 threads", "ready"]


def test_an_error_at_the_start_stops_the_threads(layer: FlakyLayer) -> None:
    class Exits(Hook):
        def worker_ready(self, worker: Any) -> None:
            raise KeyboardInterrupt

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        Worker(layer, Routes(a=print), hooks=[Exits()], signal_handlers=False).run()
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("worker-")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_worker_and_handlers_are_restored(number: int, layer: FlakyLayer) -> None:
    class Signals(Hook):
        def worker_ready(self, worker: Any) -> None:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    assert Worker(layer, Routes(a=print), hooks=[Signals()]).run()
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("second", "hurries"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_a_second_interrupt_ends_the_waiting_and_a_second_sigterm_does_not(
    second: int, hurries: bool, layer: FlakyLayer
) -> None:
    release, begun = threading.Event(), threading.Event()

    def stuck(message: Any) -> None:
        begun.set()
        release.wait(30)

    def signals() -> None:
        assert begun.wait(20)
        os.kill(os.getpid(), signal.SIGTERM)
        while not worker.termed:
            time.sleep(0.005)
        os.kill(os.getpid(), second)
        if not hurries:
            release.set()

    worker = Worker(layer, Routes(a=stuck), threads=1)
    layer.send("a", {})
    sender = threading.Thread(target=signals)
    sender.start()
    finished = worker.run()
    release.set()
    sender.join(20)
    assert finished is not hurries


def test_a_worker_that_takes_instances_over_tells_the_others_and_no_other_does(
    layer: FlakyLayer, eventually: Any
) -> None:
    run = threading.Event()
    with working(layer, Routes(**{"a": lambda message: run.set(), RESUME: print}), exclude_channels=[RESUME]) as worker:
        layer.send("a", {})
        assert run.wait(20)
        assert worker._loop.running is None
    with working(layer, Routes(**{RESUME: print})):
        eventually(lambda: len(layer.group_channels(HOSTS)) == 1, "the worker to be in the group")


class Staying(Hosted):
    """An application that waits for its first event for ever."""

    name = "an application"
    is_orphan = False

    def __init__(self, message: Any) -> None:
        self.reply_channel, self.epoch, self.done = message["reply_channel"], 1, 0
        self.events: list[tuple[int, dict[str, Any]]] = []

    async def run(self, receive: Any, send: Any) -> None:
        await receive()

    def reply_to(self, event: dict[str, Any]) -> dict[str, Any]:
        return event


def test_a_worker_without_room_leaves_instances_that_are_made_again_where_they_are(
    layer: FlakyLayer, eventually: Any
) -> None:
    with working(layer, Routes(**{RESUME: Staying}), instances=1, grace=0.2) as worker:
        for number in range(3):
            layer.send(RESUME, {"reply_channel": f"daphne.x!{number}"})
        eventually(lambda: worker._fetcher._left_out == frozenset({RESUME}), "the worker to be full")
        waiting: list[str] = []

        def are_back() -> bool:
            waiting.extend(delivery.message["reply_channel"] for delivery in everything(layer, RESUME))
            return len(waiting) == 2

        eventually(are_back, "the others to be put back")
        assert set(waiting) < {f"daphne.x!{number}" for number in range(3)}
        eventually(lambda: worker._instances.count == 1, "the first one to begin")


def test_globs_narrow_down_the_channels(layer: FlakyLayer) -> None:
    worker = Worker(layer, Routes(a=print, b=print), only_channels=["*"], exclude_channels=["b"])
    assert worker.channels == ["a"]


@pytest.mark.parametrize("options", [{"threads": 0}, {"async_tasks": 0}, {"only_channels": ["nothing"]}])
def test_options_that_cannot_work_are_refused(options: dict[str, Any], layer: FlakyLayer) -> None:
    with pytest.raises(ValueError):
        Worker(layer, Routes(a=print), **options)


def test_the_router_may_come_with_the_layer() -> None:
    layer = MemoryChannelLayer()
    layer.router = Routes(a=print)  # type: ignore[attr-defined]
    assert Worker(layer).channels == ["a"]


@pytest.mark.parametrize("threads", [1, 4])
def test_consumers_are_run_and_answer_while_another_layer_is_frozen_that_they_send_to(
    threads: int, layer: FlakyLayer, frozen: Frozen
) -> None:
    def sync(message: Any) -> None:
        Channel("a", channel_layer=frozen).send({"n": message["n"]})
        message.reply_channel.send({"n": message["n"]})

    async def on_loop(message: Any) -> None:
        sync(message)

    with working(layer, Routes(sync=sync, on_loop=on_loop), threads=threads):
        for number in range(100):
            channel = "on_loop" if number % 2 else "sync"
            layer.send(channel, {"n": number, "reply_channel": "out"})
            assert [found.message["n"] for found in received(layer, "out")] == [number]
        frozen.thawed.set()
    assert [found.message["n"] for found in everything(frozen, "a")] == list(range(100))
