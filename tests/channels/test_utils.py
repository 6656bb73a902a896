"""`channels.utils`."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

from channels.utils import await_many_dispatch, name_that_thing

HERE = "tests.channels.test_utils"


def consumer(message: Any) -> None: ...


class Consumer:
    def method(self, message: Any) -> None: ...

    def __call__(self, message: Any) -> None: ...


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (consumer, f"{HERE}.consumer"),
        (functools.partial(consumer, 1), f"{HERE}.consumer"),
        (Consumer, f"{HERE}.Consumer"),
        (Consumer(), f"{HERE}.Consumer"),
        (Consumer().method, f"{HERE}.Consumer.method"),
        ("text", "builtins.str"),
    ],
)
def test_everything_has_a_name(thing: Any, name: str) -> None:
    assert name_that_thing(thing) == name


class TestAwaitManyDispatch:
    def test_one_source_is_asked_again_when_its_result_has_been_dealt_with(self) -> None:
        log: list[str] = []

        async def source() -> int:
            log.append("asked")
            return len(log)

        async def dispatch(number: int) -> None:
            await asyncio.sleep(0)
            log.append("dealt with")
            if number == 3:
                raise EOFError

        with pytest.raises(EOFError):
            asyncio.run(await_many_dispatch([source], dispatch))
        assert log == ["asked", "dealt with"] * 2

    def test_what_a_source_raises_ends_it_and_the_others_are_cancelled(self) -> None:
        cancelled: list[bool] = []

        async def failing() -> None:
            await asyncio.sleep(0)
            raise EOFError

        async def waiting() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        async def dispatch(result: Any) -> None: ...

        with pytest.raises(EOFError):
            asyncio.run(await_many_dispatch([failing, waiting], dispatch))
        assert cancelled == [True]

    def test_the_first_exception_is_the_one_to_report(self) -> None:
        async def ready() -> None: ...

        async def failing() -> None:
            raise OSError

        async def dispatch(result: Any) -> None:
            await asyncio.sleep(0)
            raise EOFError

        with pytest.raises(EOFError):
            asyncio.run(await_many_dispatch([ready, failing], dispatch))
