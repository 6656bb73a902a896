"""`channel_layer.mailboxes`: channels of a process that coroutines wait on. On layers: tests of the coroutine layer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from channel_layer.delivery import Delivery
from channel_layer.exceptions import LayerUnavailable
from channel_layer.mailboxes import Mailboxes
from channel_layer.memory import MemoryChannelLayer
from tests.conftest import wait_until

READER = "test.x!"


class CountingLayer(MemoryChannelLayer):
    """Notes each receive: how long it was to wait."""

    failures: list[Exception]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.waits: list[float] = []
        self.failures = []

    async def areceive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        self.waits.append(timeout)
        if self.failures:
            raise self.failures.pop(0)
        return await super().areceive_batch(channels, limit, timeout)


def boxes_on(layer: MemoryChannelLayer, capacity: int = 100) -> Mailboxes:
    return Mailboxes(layer, READER, lambda channel: capacity)


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 30))


def test_messages_find_their_channels() -> None:
    async def scenario() -> None:
        layer = MemoryChannelLayer()
        boxes = boxes_on(layer)
        waiting = [asyncio.create_task(boxes.receive(READER + local)) for local in "aab"]
        await asyncio.sleep(0)
        for local, n in (("b", 1), ("a", 2), ("a", 3)):
            layer.send(READER + local, {"n": n})
        assert [message["n"] for message in await asyncio.gather(*waiting)] == [2, 3, 1]

    run(scenario())


def test_a_receive_that_is_cancelled_leaves_its_message_to_the_next() -> None:
    async def scenario() -> None:
        layer = MemoryChannelLayer()
        boxes = boxes_on(layer)
        for n in range(50):
            first = asyncio.create_task(boxes.receive(READER + "a"))
            second = asyncio.create_task(boxes.receive(READER + "a"))
            layer.send(READER + "a", {"n": n})
            for _ in range(n % 10):  # at another point of the way each time
                await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait([first])
            if first.cancelled():
                assert await second == {"n": n}
            else:
                assert first.result() == {"n": n}
                second.cancel()
                await asyncio.wait([second])

    run(scenario())


def test_nothing_is_received_while_nobody_waits() -> None:
    # A message that was taken then would be lost with the loop, if the receive is cancelled.
    async def scenario() -> None:
        layer = CountingLayer()
        boxes = boxes_on(layer)
        layer.send(READER + "a", {"n": 1})
        layer.send(READER + "a", {"n": 2})
        assert await boxes.receive(READER + "a") == {"n": 1}
        assert await boxes.receive(READER + "a") == {"n": 2}
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(layer.waits) == 1

    run(scenario())


def test_a_process_shows_that_it_is_alive_while_nobody_waits() -> None:
    async def scenario() -> None:
        layer = CountingLayer(presence=0.03)
        boxes = boxes_on(layer)
        layer.send(READER + "a", {})
        await boxes.receive(READER + "a")
        await asyncio.to_thread(wait_until, lambda: layer.waits.count(0) >= 3)

    run(scenario())


def test_a_loop_that_only_receives_once_hands_over_to_the_others() -> None:
    layer = CountingLayer()
    boxes = boxes_on(layer)
    got: list[Any] = []

    def listen() -> None:
        async def receive() -> None:
            for _ in range(20):
                got.append(await boxes.receive(READER + "long"))

        run(receive())

    async def receive_one() -> None:
        task = asyncio.create_task(boxes.receive(READER + "short"))
        await asyncio.sleep(0)
        thread.start()
        await asyncio.to_thread(wait_until, lambda: len(boxes._waiters) == 2)
        layer.send(READER + "short", {})
        assert await task == {}

    thread = threading.Thread(target=listen)
    run(receive_one())
    for n in range(20):
        layer.send(READER + "long", {"n": n})
    thread.join(30)
    assert got == [{"n": n} for n in range(20)]


def test_a_loop_that_was_left_standing_is_replaced() -> None:
    layer = MemoryChannelLayer()
    boxes = boxes_on(layer)
    abandoned = asyncio.new_event_loop()
    abandoned.create_task(boxes.receive(READER + "a"))  # noqa: RUF006 - the loop is left standing with it
    abandoned.run_until_complete(asyncio.sleep(0))
    layer.send(READER + "b", {"n": 1})
    assert run(boxes.receive(READER + "b")) == {"n": 1}
    tasks = asyncio.all_tasks(abandoned)
    for task in tasks:
        task.cancel()
    abandoned.run_until_complete(asyncio.wait(tasks))
    abandoned.close()


def test_a_full_box_takes_no_more() -> None:
    async def scenario() -> None:
        layer = MemoryChannelLayer()
        boxes = boxes_on(layer, capacity=2)
        for n in range(5):
            layer.send(READER + "a", {"n": n})
        layer.send(READER + "b", {})
        await boxes.receive(READER + "b")
        assert [(await boxes.receive(READER + "a"))["n"] for _ in range(2)] == [0, 1]
        assert layer.counters.group_full == 3

    run(scenario())


def test_messages_expire_in_their_boxes_and_take_no_room_then() -> None:
    async def scenario() -> None:
        layer = MemoryChannelLayer(expiry=0.05)
        boxes = boxes_on(layer)
        for local in ("gone", "late", "b"):
            layer.send(READER + local, {"n": 1})
        await boxes.receive(READER + "b")
        await asyncio.sleep(0.06)
        layer.send(READER + "late", {"n": 2})
        assert await boxes.receive(READER + "late") == {"n": 2}
        layer.send(READER + "b", {})
        await boxes.receive(READER + "b")
        assert not boxes._boxes
        assert layer.counters.expired == 2

    run(scenario())


def test_an_outage_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        layer = CountingLayer()
        layer.failures = [LayerUnavailable("redis://x", "it is away") for _ in range(2)]
        layer.send(READER + "a", {"n": 1})
        assert await boxes_on(layer).receive(READER + "a") == {"n": 1}

    run(scenario())
    # Loops of other tests, which were closed in the middle, may be collected meanwhile and say so.
    said = [record.getMessage() for record in caplog.records if record.name == "channel_layer.mailboxes"]
    assert said == ["channel layer at redis://x is unavailable: it is away; trying again until it answers"]


def test_another_error_comes_out_where_somebody_waits() -> None:
    async def scenario() -> None:
        layer = CountingLayer()
        layer.failures = [OSError("broken")]
        boxes = boxes_on(layer)
        with pytest.raises(OSError, match="broken"):
            await boxes.receive(READER + "a")
        layer.send(READER + "a", {"n": 1})
        assert await boxes.receive(READER + "a") == {"n": 1}

    run(scenario())


def test_the_pump_of_a_loop_can_be_retired() -> None:
    async def scenario() -> None:
        layer = MemoryChannelLayer()
        boxes = boxes_on(layer)
        assert boxes.retire(asyncio.get_running_loop()) is None
        layer.send(READER + "a", {})
        await boxes.receive(READER + "a")
        task = boxes.retire(asyncio.get_running_loop())
        assert task is not None
        await asyncio.wait([task])
        assert task.cancelled()
        layer.send(READER + "a", {"n": 2})
        assert await boxes.receive(READER + "a") == {"n": 2}

    run(scenario())
