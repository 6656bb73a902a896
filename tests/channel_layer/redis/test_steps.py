from __future__ import annotations

import asyncio
from typing import Any

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.redis.scripts import Call, plain
from channel_layer.redis.steps import Steps, awalk, together, walk


def add_up(seen: list[Any]) -> Steps:
    """Two pipelines, the second of which depends on the first; a failure is written down."""
    try:
        [first] = yield 0, [plain("ONE")]
        seen += yield 1, [plain("TWO"), plain("AND", first)]
    except LayerUnavailable as error:
        seen.append(error.reason)


class Server:
    def __init__(self, fails: bool = False) -> None:
        self.calls: list[Any] = []
        self._fails = fails

    def run(self, shard: int, calls: list[Call]) -> list[Any]:
        self.calls += [(shard, call.command()) for call in calls]
        if self._fails:
            raise LayerUnavailable("here", "away")
        return [len(self.calls)] * len(calls)

    async def arun(self, shard: int, calls: list[Call]) -> list[Any]:
        return self.run(shard, calls)


def walked(server: Server, steps: Steps, in_loop: bool) -> None:
    if in_loop:
        asyncio.run(awalk(steps, server.arun))
    else:
        walk(steps, server.run)


@pytest.mark.parametrize("in_loop", [False, True])
def test_each_step_is_sent_the_answers_to_its_calls(in_loop: bool) -> None:
    seen: list[Any] = []
    server = Server()
    walked(server, add_up(seen), in_loop)
    assert server.calls == [(0, ("ONE",)), (1, ("TWO",)), (1, ("AND", 1))]
    assert seen == [3, 3]


@pytest.mark.parametrize("in_loop", [False, True])
def test_a_server_that_fails_is_thrown_into_them(in_loop: bool) -> None:
    seen: list[Any] = []
    walked(Server(fails=True), add_up(seen), in_loop)
    assert seen == ["away"]


def never() -> Steps:
    yield from ()


def one() -> Steps:
    yield 0, [plain("ONE")]


@pytest.mark.parametrize("in_loop", [False, True])
def test_what_they_do_not_catch_is_raised(in_loop: bool) -> None:
    with pytest.raises(LayerUnavailable):
        walked(Server(fails=True), one(), in_loop)


@pytest.mark.parametrize("in_loop", [False, True])
def test_there_may_be_nothing_to_do(in_loop: bool) -> None:
    server = Server()
    walked(server, never(), in_loop)
    assert server.calls == []


def test_what_is_awaited_together_is_all_done_before_an_error_is_raised() -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        if number == 1:
            raise LayerUnavailable("here", "away")
        done.append(number)

    with pytest.raises(LayerUnavailable):
        asyncio.run(together(work(number) for number in range(3)))
    assert done == [0, 2]
