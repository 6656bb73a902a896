from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from workers import Hook, Worker
from workers.sync_side import SyncSide

from .tools import FlakyLayer, Routes, received, working


def test_functions_run_in_a_thread_with_the_context_they_were_called_in() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")

    async def main() -> tuple[int, bool]:
        variable.set(5)
        return await SyncSide().run(lambda: (variable.get(), threading.current_thread() is threading.main_thread()))

    assert asyncio.run(main()) == (5, False)


def test_what_a_function_raises_is_raised() -> None:
    async def main() -> None:
        await SyncSide().run(lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())


class Blocking(Hook):
    """Its `after` is overridden, so it is taken for one that may wait."""

    def after(self, message: Any, error: BaseException | None) -> None:
        """Do nothing."""


class Telling(SyncSide):
    def __init__(self) -> None:
        self.told: list[str] = []

    def enter(self) -> None:
        self.told.append(f"enter on {threading.current_thread().name}")

    async def run(self, function: Any) -> Any:
        self.told.append("run")
        return await super().run(function)

    def leave(self) -> None:
        self.told.append(f"leave on {threading.current_thread().name}")

    def close(self) -> None:
        self.told.append("close")


@pytest.mark.parametrize(("hooks", "runs"), [((Blocking(),), ["run"]), ((Hook(),), []), ((), [])])
def test_a_worker_uses_the_one_it_is_given(hooks: Any, runs: list[str]) -> None:
    side, layer = Telling(), FlakyLayer()

    async def consumer(message: Any) -> None:
        side.told.append("consumer")
        message.reply_channel.send({})

    with working(layer, Routes(a=consumer), hooks=hooks, sync_side=side) as worker:
        assert isinstance(worker, Worker)
        layer.send("a", {"reply_channel": "out"})
        assert received(layer, "out")
    assert side.told == ["enter on worker-async", "consumer", *runs, "leave on worker-async", "close"]


def test_a_consumer_whose_sync_side_fails_ends_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(SyncSide):
        async def run(self, function: Any) -> Any:
            raise OSError("no more threads")

    async def consumer(message: Any) -> None:
        raise ValueError

    layer = FlakyLayer()
    with working(layer, Routes(a=consumer, b=lambda m: m.reply_channel.send({})), sync_side=Failing(), async_tasks=1):
        for _ in range(3):
            layer.send("a", {})
        layer.send("b", {"reply_channel": "out"})
        assert received(layer, "out")
    assert "a message on a could not be dealt with" in caplog.text
