"""What the layer says about the channels, and what follows for a message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from interface_server.bridge.backlog import SLACK_SECONDS, Backlog, Front
from tests.interface_server.helpers import become


class AgedLayer(MemoryChannelLayer):
    """Says what the test says, and counts the questions."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[float | Exception | Callable[[], float] | None] = []
        self.questions = 0

    async def aoldest_age(self, channel: str) -> float | None:
        self.questions += 1
        answer = self.answers.pop(0) if self.answers else 0.0
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer


def with_backlog(layer: Any, test: Callable[[Backlog], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            await test(Backlog(layer))

    asyncio.run(run())


async def ask(backlog: Backlog) -> Front | None:
    backlog.front("c", 0)
    backlog.ask()
    assert backlog._inquiry is not None
    await backlog._inquiry
    return backlog.front("c", 0)


def test_what_was_stored_before_the_oldest_message_was_taken() -> None:
    assert Front(100, 100, 100, 100).may_wait(99.9) is False
    assert Front(100, 60, 60, 100).may_wait(60) is True
    assert Front(100, 60, 60, 100).may_wait(60 - SLACK_SECONDS) is True
    assert Front(100, 60, 60, 100).may_wait(59.9 - SLACK_SECONDS) is False
    assert Front(100, float("inf"), float("inf"), 100).may_wait(99) is False


@pytest.mark.parametrize(
    ("stored", "stored_by", "same"), [(60, 60.01, True), (60.012, 60.02, True), (60.014, 60.02, False), (61, 61, False)]
)
def test_an_answer_that_takes_long_is_as_precise_as_that(stored: float, stored_by: float, same: bool) -> None:
    before, after = Front(100, 60, 60.011, 100), Front(101, stored, stored_by, 101)
    assert before.is_same(after) is after.is_same(before) is same


def test_a_channel_that_is_empty_has_no_front_but_now() -> None:
    async def test(backlog: Backlog) -> None:
        found = await ask(backlog)
        assert found is not None
        assert found.stored == found.asked

    with_backlog(AgedLayer(), test)


def test_only_who_asked_after_the_message_was_stored_knows_anything() -> None:
    async def test(backlog: Backlog) -> None:
        assert backlog.front("c", 0) is None
        found = await ask(backlog)
        assert found is not None
        assert backlog.front("c", found.asked) is None

    with_backlog(AgedLayer(), test)


def test_nothing_is_asked_unless_somebody_wants_to_know_and_one_question_at_a_time() -> None:
    layer = AgedLayer()

    async def test(backlog: Backlog) -> None:
        backlog.ask()
        assert backlog._inquiry is None
        for _ in range(5):
            backlog.front("c", 0)
            backlog.ask()
        await become(lambda: backlog.front("c", 0))
        assert layer.questions == 1

    with_backlog(layer, test)


@pytest.mark.parametrize("ages", [(10.0, 10.2), (10.0, 0.0), (10.0, 5.0)])
def test_a_front_that_does_not_move_is_the_same_message(ages: tuple[float, float]) -> None:
    layer = AgedLayer()

    async def test(backlog: Backlog) -> None:
        now = asyncio.get_running_loop().time
        stored = now() - ages[0]
        layer.answers.append(lambda: now() - stored)
        first = await ask(backlog)
        assert first is not None
        await asyncio.sleep(0.2)
        elapsed = now() - first.asked
        stands = ages[1] > ages[0]
        layer.answers.append((lambda: now() - stored) if stands else ages[1])
        second = await ask(backlog)
        assert second is not None
        assert (second.since == first.since) is stands
        assert backlog.is_deserted("c", second.asked - 1, elapsed) is stands
        assert not backlog.is_deserted("c", second.asked - 1, elapsed + 60)

    with_backlog(layer, test)


def test_a_layer_that_is_away_leaves_what_was_known() -> None:
    layer = AgedLayer()
    layer.answers += [5.0, LayerUnavailable("here", "gone")]

    async def test(backlog: Backlog) -> None:
        assert await ask(backlog) == await ask(backlog)

    with_backlog(layer, test)


@pytest.mark.parametrize("answer", [None, RuntimeError("odd")])
def test_of_a_layer_that_cannot_tell_everything_counts_as_taken(answer: Any) -> None:
    layer = AgedLayer()
    layer.answers.append(answer)

    async def test(backlog: Backlog) -> None:
        found = await ask(backlog)
        assert found is not None
        assert not found.may_wait(found.asked)

    with_backlog(layer, test)
