"""What the tests of the worker share: a router made of functions, and a worker running in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from channel_layer.delivery import Delivery, Outgoing
from channel_layer.memory import MemoryChannelLayer
from tests.conftest import wait_until
from workers import Worker

Consumer = Callable[..., Any]


class Routes:
    """A router: channel name → consumer."""

    def __init__(self, **consumers: Consumer) -> None:
        self._consumers = consumers

    @property
    def channels(self) -> set[str]:
        return set(self._consumers)

    def match(self, message: Any) -> tuple[Consumer, dict[str, Any]] | None:
        consumer = self._consumers.get(message.channel.name)
        return None if consumer is None else (consumer, {})


@contextlib.contextmanager
def working(layer: Any, router: Any, **options: Any) -> Iterator[Worker]:
    """A worker in a thread of its own, stopped at the end of the block."""
    worker = Worker(layer, router, signal_handlers=False, **options)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(30)
        assert not thread.is_alive()


def stop_in_vain(layer: Any, router: Any, begun: threading.Event, **options: Any) -> bool:
    """Stop a worker whose consumer of ``a`` has begun and does not end; what its `run` returns."""
    results: list[bool] = []
    worker = Worker(layer, router, grace=0.1, signal_handlers=False, **options)
    thread = threading.Thread(target=lambda: results.append(worker.run()))
    thread.start()
    layer.send("a", {})
    assert begun.wait(20)
    worker.stop()
    thread.join(30)
    [finished] = results
    return finished


def received(layer: Any, channel: str) -> list[Delivery]:
    """The next messages of a channel; a worker may interrupt all who wait at its layer."""
    found: list[Delivery] = []
    wait_until(lambda: found.extend(layer.receive_batch([channel], timeout=1)) or found, f"a message on {channel}")
    return found


def turn_of(loop: asyncio.AbstractEventLoop) -> None:
    """Wait until all that runs on a loop has come to where it waits."""
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(20)


class Clock:
    """Takes the place of the module `time`: ``ahead`` is what a process that stood still has missed."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.sleep = time.sleep

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def perf_counter(self) -> float:
        return time.perf_counter() + self.ahead


def everything(layer: Any, channel: str) -> list[Delivery]:
    """All messages on a channel now."""
    found: list[Delivery] = []
    while batch := layer.receive_batch([channel], limit=100):
        found += batch
    return found


def outgoing(layer: Any, channel: str, number: int) -> tuple[Any, Outgoing]:
    """An entry of an outbox."""
    return layer, layer.prepare(channel, {"n": number})


class FlakyLayer(MemoryChannelLayer):
    """A layer whose calls raise what the test says, one after the other; receiving, on the channel ``a``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.receive_errors: list[BaseException] = []
        self.send_errors: list[BaseException] = []
        self.put_back_errors: list[BaseException] = []

    def receive_batch(self, channels: Any, *args: Any, **kwargs: Any) -> Any:
        if self.receive_errors and "a" in channels:
            raise self.receive_errors.pop(0)
        return super().receive_batch(channels, *args, **kwargs)

    def send_batch(self, items: Any) -> Any:
        if self.send_errors:
            raise self.send_errors.pop(0)
        return super().send_batch(items)

    def put_back(self, *args: Any) -> None:
        if self.put_back_errors:
            raise self.put_back_errors.pop(0)
        super().put_back(*args)


class Frozen(MemoryChannelLayer):
    """A layer that does not answer who sends, until it is thawed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.asked, self.thawed = threading.Event(), threading.Event()

    def send_batch(self, items: Any) -> Any:
        self.asked.set()
        assert self.thawed.wait(60)
        return super().send_batch(items)
