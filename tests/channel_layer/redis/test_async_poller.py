from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.redis import async_poller
from channel_layer.redis.async_poller import AsyncPoller, AsyncPollers
from channel_layer.redis.pops import More

Popped = async_poller.Popped


async def pop(ends: asyncio.Event, result: Popped | Exception = ([], More.LATER)) -> Popped:
    await ends.wait()
    if isinstance(result, Exception):
        raise result
    return result


def run(test: Coroutine[Any, Any, None]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(30):
            await test

    asyncio.run(in_time())


def test_the_server_that_answers_first_is_named_and_the_other_goes_on() -> None:
    async def test() -> None:
        poller, first, second = AsyncPoller(), asyncio.Event(), asyncio.Event()
        poller.begin(0, pop(second), rests=False)
        poller.begin(1, pop(first, ([], More.NOW)), rests=False)
        assert await poller.wait(0.01) is None
        first.set()
        assert await poller.wait(20) == 1
        assert poller.take(1) == ([], More.NOW)
        assert poller.waiting == {0}
        second.set()
        assert await poller.wait(20) == 0

    run(test())


def test_a_wait_that_is_cancelled_ends_no_pop() -> None:
    async def test() -> None:
        poller, ends = AsyncPoller(), asyncio.Event()
        poller.begin(0, pop(ends), rests=False)
        waiting = asyncio.create_task(poller.wait(20))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        ends.set()
        assert await poller.wait(20) == 0

    run(test())


def test_a_server_that_failed_rests_if_others_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        poller, ends = AsyncPoller(), asyncio.Event()
        ends.set()
        poller.begin(0, pop(ends, LayerUnavailable("here", "away")), rests=True)
        assert await poller.wait(20) == 0
        with pytest.raises(LayerUnavailable):
            poller.take(0)
        assert poller.failing == {0}
        monkeypatch.setattr(async_poller, "RETRY_SECONDS", 20)
        poller.begin(0, pop(ends), rests=True)
        assert await poller.wait(0.05) is None
        monkeypatch.setattr(async_poller, "RETRY_SECONDS", 0)
        poller.begin(1, pop(ends), rests=True)
        assert await poller.wait(20) == 1
        for task in poller._tasks.values():
            task.cancel()
        assert await poller.finish() == [([], More.LATER)]

    run(test())


def test_a_poller_is_lent_to_one_receive_at_a_time_in_its_loop() -> None:
    pollers = AsyncPollers()

    async def test() -> None:
        first = pollers.borrow(("a", "b"))
        assert pollers.borrow(("a", "b")) is not first
        pollers.give_back(("a", "b"), first)
        assert pollers.take_overlapping(("a", "b")) == []
        assert pollers.take_overlapping(("c",)) == []
        assert pollers.take(("a",)) == []
        assert pollers.borrow(("a", "b")) is first
        pollers.give_back(("a", "b"), first)
        assert pollers.take_overlapping(("b", "c")) == [first]
        assert pollers.take(()) == []
        pollers.give_back(("a", "b"), first)

    async def in_another_loop() -> None:
        assert pollers.take(()) == []

    run(test())
    run(in_another_loop())


def test_the_end_of_a_loop_is_told_once() -> None:
    told: list[AsyncPoller] = []

    async def end(poller: AsyncPoller) -> None:
        told.append(poller)

    async def test() -> None:
        poller = AsyncPoller()
        await poller.guard(end)
        await poller.guard(end)
        assert told == []

    run(test())
    assert len(told) == 1
