"""Several readers and senders at once, fairness, waking up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import pytest

from ..layer import ChannelLayer
from .tools import PATIENCE, MakeLayer, Tools, numbers

T = TypeVar("T")


class ConcurrencyRules(Tools):
    """At most once under concurrent readers, order per sender, fairness between channels."""

    @pytest.mark.parametrize("limit", [1, 5])
    def test_concurrent_readers_get_each_message_once(self, make_layer: MakeLayer, limit: int) -> None:
        layers = [make_layer(), make_layer()]
        total = 400
        seen: list[int] = []

        def read(layer: ChannelLayer) -> None:
            deadline = time.monotonic() + PATIENCE
            while len(seen) < total and time.monotonic() < deadline:
                seen.extend(numbers(layer.receive_batch(["shared"], limit=limit, timeout=0.2)))

        with ThreadPoolExecutor(5) as pool:
            readers = [pool.submit(read, layers[n % 2]) for n in range(4)]
            for start in range(0, total, 50):
                layers[0].send_batch([layers[0].prepare("shared", {"n": n}) for n in range(start, start + 50)])
            for reader in readers:
                reader.result()
        assert sorted(seen) == list(range(total))
        assert self.nothing(layers[0], "shared")

    def test_concurrent_readers_of_the_single_form_get_each_message_once(self, make_layer: MakeLayer) -> None:
        layer = make_layer()
        total = 100
        seen: list[int] = []

        def read() -> None:
            deadline = time.monotonic() + PATIENCE
            while len(seen) < total and time.monotonic() < deadline:
                channel, message = layer.receive(["shared.a", "shared.b"])
                if channel is not None and message is not None:
                    seen.append(message["n"])

        with ThreadPoolExecutor(5) as pool:
            readers = [pool.submit(read) for _ in range(4)]
            for n in range(total):
                layer.send("shared.a" if n % 2 else "shared.b", {"n": n})
            for reader in readers:
                reader.result()
        assert sorted(seen) == list(range(total))

    def test_messages_of_each_sender_keep_their_order(self, make_layer: MakeLayer) -> None:
        layers = [make_layer(), make_layer()]

        def send(sender: int) -> None:
            layer = layers[sender % 2]
            for n in range(50):
                layer.send("shared", {"sender": sender, "n": n})

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(send, range(3)))
        taken = self.take(layers[0], "shared", count=150)
        for sender in range(3):
            assert [m["n"] for _, m in taken if m["sender"] == sender] == list(range(50))

    def test_capacity_holds_under_concurrent_senders(self, make_layer: MakeLayer) -> None:
        options = {"capacity": 20}
        layers = [make_layer(**options), make_layer(**options)]

        def send(sender: int) -> int:
            layer = layers[sender % 2]
            return sum(not layer.send_batch([layer.prepare("small", {"n": n})]) for n in range(15))

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(send, range(4))) == 20
        assert len(self.take(layers[0], "small", count=20)) == 20
        assert self.nothing(layers[0], "small")

    @pytest.mark.parametrize("order", [["busy", "quiet"], ["quiet", "busy"]])
    def test_a_busy_channel_does_not_starve_a_quiet_one(self, layer: ChannelLayer, order: list[str]) -> None:
        busy = [layer.prepare("busy", {"n": n}) for n in range(300)]
        quiet = [layer.prepare("quiet", {"n": n}) for n in range(300)]
        for crowded, lonely in ((busy, quiet[0]), (quiet, busy[0])):
            layer.flush()
            layer.send_batch([*crowded, lonely])
            seen = [layer.receive(order)[0] for _ in range(150)]
            assert lonely.target in seen

    def test_a_waiting_reader_wakes_up_when_a_message_comes(self, make_layer: MakeLayer) -> None:
        here, there = make_layer(), make_layer()
        rounds = 20

        def echo() -> None:
            for _ in range(rounds):
                [delivery] = there.receive_batch(["ping"], timeout=4 * PATIENCE)
                there.send("pong", delivery.message)

        with _Thread(echo) as thread:
            for n in range(rounds):
                here.send("ping", {"n": n})
                assert numbers(self.take(here, "pong")) == [n]
            thread.wait()

    def test_a_waiting_reader_hears_every_channel_it_named(self, layer: ChannelLayer) -> None:
        names = [f"many.{n}" for n in range(30)] + ["process!"]

        def read() -> list[str | None]:
            return [self.take(layer, *names)[0][0] for _ in range(3)]

        with _Thread(read) as thread:
            for name in ("many.29", "process!x", "many.0"):
                layer.send(name, {"n": 1})
            assert sorted(map(str, thread.wait())) == ["many.0", "many.29", "process!x"]

    def test_interrupt_ends_waiting_and_loses_nothing(self, layer: ChannelLayer) -> None:
        if type(layer).interrupt is ChannelLayer.interrupt:
            pytest.skip("this layer does not support interrupt")
        with _Thread(lambda: layer.receive_batch(["awaited"], timeout=4 * PATIENCE)) as thread:
            deadline = time.monotonic() + PATIENCE
            while thread.is_alive() and time.monotonic() < deadline:
                layer.interrupt()
                thread.join(0.02)
            assert thread.wait() == []
        layer.send("awaited", {"n": 1})
        assert numbers(self.take(layer, "awaited")) == [1]

    def test_an_interrupt_does_not_reach_calls_that_start_later(self, layer: ChannelLayer) -> None:
        layer.interrupt()
        with _Thread(lambda: layer.receive_batch(["awaited"], timeout=PATIENCE)) as thread:
            thread.join(0.1)
            layer.send("awaited", {"n": 1})
            assert numbers(thread.wait()) == [1]


class _Thread(threading.Thread, Generic[T]):
    """A thread that hands its result or its exception to `wait`."""

    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._result: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result.append(self._work())
        except BaseException as error:
            self._error = error

    def wait(self) -> T:
        self.join(PATIENCE)
        assert not self.is_alive(), "the thread is still waiting"
        if self._error is not None:
            raise self._error
        return self._result[0]

    def __enter__(self) -> _Thread[T]:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if exc_info[0] is None:
            self.wait()
