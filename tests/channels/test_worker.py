"""`channels.worker`: workers as Channels 1 made them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from channels import route
from channels.configured_layers import ChannelLayerWrapper
from channels.exceptions import ConsumeLater
from channels.scope.application_worker import ApplicationWorker
from channels.signals import consumer_started, worker_ready
from channels.worker import Worker, WorkerGroup


@contextmanager
def running(worker: Worker) -> Iterator[None]:
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.termed = True
        thread.join(20)
    assert not thread.is_alive()


def routed(layer: Any, *routes: Any) -> ChannelLayerWrapper:
    return ChannelLayerWrapper(layer.channel_layer, "default", list(routes))


@pytest.mark.parametrize("kind", [Worker, WorkerGroup])
def test_it_runs_consumers_and_calls_back_before_them(layer: Any, kind: type[Worker]) -> None:
    seen: list[Any] = []
    done = threading.Event()

    def callback(channel: str, message: Any) -> None:
        seen.append((channel, message["number"]))

    def consumer(message: Any) -> None:
        seen.append("consumer")
        done.set()

    worker = kind(routed(layer, route("a", consumer)), callback, only_channels=["a"], exclude_channels=["b*"])
    with running(worker):
        layer.send("a", {"number": 7})
        assert done.wait(20)
        assert not worker.termed
    assert seen == [("a", 7), "consumer"]


def test_a_group_runs_as_many_at_a_time_as_it_has_threads(layer: Any) -> None:
    both = threading.Barrier(2)
    met = threading.Event()

    def consumer(message: Any) -> None:
        both.wait(20)
        met.set()

    with running(WorkerGroup(routed(layer, route("a", consumer)), n_threads=2)):
        layer.send("a", {})
        layer.send("a", {})
        assert met.wait(20)


def test_a_group_without_threads_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one thread, not 0"):
        WorkerGroup(None, n_threads=0)


def test_a_message_is_tried_as_often_as_it_was_told(layer: Any, eventually: Any) -> None:
    tries = []

    def consumer(message: Any) -> None:
        tries.append(1)
        raise ConsumeLater

    def last(message: Any) -> None:
        done.set()

    done = threading.Event()
    worker = Worker(routed(layer, route("a", consumer), route("b", last)), message_retries=1)
    with running(worker):
        layer.send("a", {})
        eventually(lambda: len(tries) == 2)
        layer.send("b", {})
        assert done.wait(20)
    assert len(tries) == 2


def test_the_globs_filter_channels() -> None:
    channels = ["yes.1", "no.1", "maybe.2", "yes"]
    assert Worker(None, only_channels=["yes.*", "maybe.*"]).apply_channel_filters(channels) == ["yes.1", "maybe.2"]
    assert Worker(None, exclude_channels=["no.*", "maybe.*"]).apply_channel_filters(channels) == ["yes.1", "yes"]


def test_globs_that_leave_nothing_are_an_error(layer: Any) -> None:
    with pytest.raises(ValueError, match="no channels are left"):
        Worker(routed(layer, route("a", str)), only_channels=["z"]).run()


@pytest.mark.parametrize("call_ready", [True, False])
def test_that_it_is_ready_is_said_once(layer: Any, call_ready: bool, eventually: Any) -> None:
    said = []

    def ready(sender: Any, **kwargs: Any) -> None:
        said.append(sender)

    worker_ready.connect(ready)
    worker = Worker(routed(layer, route("a", str)))
    try:
        if call_ready:
            worker.ready()
            assert said == [worker]
        with running(worker):
            eventually(lambda: said)
    finally:
        worker_ready.disconnect(ready)
    assert said == [worker]


def test_one_that_was_told_to_stop_before_does_not_start(layer: Any) -> None:
    worker = Worker(routed(layer, route("a", str)))
    worker.stop()
    worker.run()
    assert worker.termed


def test_a_subclass_may_choose_its_channels(layer: Any, eventually: Any) -> None:
    class Some(Worker):
        def apply_channel_filters(self, channels: Any) -> list[str]:
            return [name for name in super().apply_channel_filters(channels) if name in ("2", "4")]

    seen: list[str] = []
    routes = [route(name, lambda message: seen.append(message.channel.name)) for name in ("1", "2", "3", "4")]
    with running(Some(routed(layer, *routes), exclude_channels=["3"])):
        for name in ("1", "2", "3", "4"):
            layer.send(name, {})
        eventually(lambda: sorted(seen) == ["2", "4"])
    assert layer.receive(["1"]) == ("1", {})
    with pytest.raises(ValueError, match="no channels are left"):
        Some(routed(layer, route("1", str))).run()


class EndsItself(Worker):
    """Stops once it has run one message, by a ``termed`` of its own."""

    seen = 0

    @property
    def termed(self) -> bool:  # type: ignore[override]
        return self.seen > 0

    @termed.setter
    def termed(self, value: bool) -> None:
        """Nothing but `seen` counts."""


def test_a_subclass_may_say_itself_when_it_is_told_to_stop(layer: Any) -> None:
    def count(channel: str, message: Any) -> None:
        worker.seen += 1

    worker = EndsItself(routed(layer, route("a", lambda message: None)), count)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    layer.send("a", {})
    thread.join(30)
    assert not thread.is_alive()
    assert worker.seen == 1


def test_a_signal_is_seen_in_the_face(layer: Any) -> None:
    worker = Worker(routed(layer, route("a", str)), signal_handlers=True)

    def ready(sender: Any, **kwargs: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    worker_ready.connect(ready)
    try:
        worker.run()
    finally:
        worker_ready.disconnect(ready)
    assert worker.termed


def test_the_signals_are_sent_around_consumers(layer: Any, eventually: Any) -> None:
    seen = []

    def started(message: Any, **kwargs: Any) -> None:
        seen.append(message.channel.name)

    consumer_started.connect(started)
    try:
        with running(Worker(routed(layer, route("a", lambda message: None)))):
            layer.send("a", {})
            eventually(lambda: seen == ["a"])
    finally:
        consumer_started.disconnect(started)


async def application(scope: Any, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((application, ["a"], object()), {}),
        ((application, ("a",), object(), 5), {}),
        ((application,), {"channels": ["a"], "channel_layer": object()}),
        ((), {"application": application, "channels": ["a"], "channel_layer": object(), "max_applications": 5}),
    ],
)
def test_the_arguments_of_channels_4_make_the_worker_of_channels_4(arguments: Any, named: Any) -> None:
    worker: Any = Worker(*arguments, **named)
    assert isinstance(worker, ApplicationWorker)
    assert worker.channels == ["a"]


@pytest.mark.parametrize("callback", [None, lambda channel, message: None])
def test_those_of_channels_1_make_that_of_channels_1(layer: Any, callback: Any) -> None:
    worker = Worker(layer, callback, 3)
    assert (type(worker), worker.message_retries) == (Worker, 3)
