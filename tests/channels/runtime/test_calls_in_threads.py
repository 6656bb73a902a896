"""The two ways into the thread of a consumer, by `sync_to_async` and the short one, do the same."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from asgiref.local import Local
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.utils import translation

from channels.consumer import SyncConsumer, database_sync_to_async
from channels.db import Caretaker, connections_caretaker
from channels.exceptions import StopConsumer
from channels.runtime.django_internals import run_in
from channels.runtime.sync_threads import SyncThreads

Call = Callable[..., Coroutine[Any, Any, Any]]
Scene = Callable[[Call], Coroutine[Any, Any, None]]

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")
local = Local()


def caretaker() -> Caretaker:
    found = connections_caretaker.get()
    assert found is not None
    return found


async def by_asgiref(function: Callable[..., Any], *args: Any) -> Any:
    return await database_sync_to_async(function)(*args)


async def shortly(function: Callable[..., Any], *args: Any) -> Any:
    return await caretaker().call(function, *args)


@pytest.fixture(params=[by_asgiref, shortly], ids=["asgiref", "short"])
def play(request: pytest.FixtureRequest) -> Callable[[Scene], None]:
    def run(scene: Scene) -> None:
        async def on_stage() -> None:
            side = SyncThreads(2)
            side.enter()
            try:
                await asyncio.wait_for(scene(request.param), 30)
            finally:
                side.leave()
                side.close()

        asyncio.run(on_stage())

    return run


def test_all_calls_of_a_consumer_run_in_one_thread_in_order(play: Callable[[Scene], None]) -> None:
    async def scene(call: Call) -> None:
        names = [await call(lambda: threading.current_thread().name) for _ in range(3)]
        assert names[0].startswith("worker-async-sync-")
        assert len({*names, await sync_to_async(lambda: threading.current_thread().name)()}) == 1

    play(scene)


def test_arguments_results_and_errors_come_through(play: Callable[[Scene], None]) -> None:
    async def scene(call: Call) -> None:
        assert await call(divmod, 7, 2) == (3, 1)
        with pytest.raises(StopConsumer):
            await call(_raise, StopConsumer())
        with pytest.raises(RuntimeError):
            await call(_raise, StopIteration(1))

    play(scene)


def _raise(error: Exception) -> None:
    raise error


def test_what_a_call_sets_is_set_for_the_consumer_and_its_next_call(play: Callable[[Scene], None]) -> None:
    def look() -> tuple[str, str | None, str]:
        return variable.get(), getattr(local, "value", None), translation.get_language()

    def set_all(text: str, language: str) -> None:
        variable.set(text)
        local.value = text
        translation.activate(language)

    async def scene(call: Call) -> None:
        for text, language in (("one", "de"), ("two", "fr"), ("two", "fr")):
            await call(set_all, text, language)
            assert look() == (text, text, language)
            assert await call(look) == (text, text, language)
        variable.set("three")  # between two calls
        local.value = "four"
        assert await call(look) == ("three", "four", "fr")
        assert await sync_to_async(look)() == ("three", "four", "fr")
        del local.value
        assert await call(look) == ("three", None, "fr")

    play(scene)


class Unequal:
    """Has no opinion on whether it is equal to another one, as an array has not."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("it was compared")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("make", [Unequal, list], ids=["cannot be compared", "are equal"])
def test_it_is_the_very_object_that_is_set_though_another_is_equal(
    play: Callable[[Scene], None], make: Callable[[], object]
) -> None:
    held: contextvars.ContextVar[object] = contextvars.ContextVar("held")

    async def scene(call: Call) -> None:
        for _ in range(3):
            value = make()
            await call(held.set, value)
            assert held.get() is value
            assert await call(held.get) is value
            value = make()
            held.set(value)
            assert await call(held.get) is value

    play(scene)


def test_consumers_in_one_thread_see_nothing_of_each_other(play: Callable[[Scene], None]) -> None:
    async def consumer(call: Call, text: str) -> None:
        for turn in range(20):
            before = await call(lambda: (variable.get(), getattr(local, "value", None)))
            assert before == ((text, text) if turn else ("nothing", None))
            await call(_set_both, text)

    async def scene(call: Call) -> None:
        side = SyncThreads(1)

        async def one(text: str) -> None:
            side.enter()
            await consumer(call, text)
            side.leave()

        await asyncio.gather(*(asyncio.create_task(one(str(number))) for number in range(5)))
        side.close()

    play(scene)


def _set_both(text: str) -> None:
    variable.set(text)
    local.value = text


def test_coroutines_that_a_call_waits_for_run_on_the_loop_of_the_consumer(play: Callable[[Scene], None]) -> None:
    async def where() -> tuple[Any, str]:
        variable.set("set by the coroutine")
        thread = await sync_to_async(lambda: threading.current_thread().name)()
        return asyncio.get_running_loop(), thread

    def handler() -> tuple[Any, str, str]:
        loop, thread = async_to_sync(where)()
        assert thread == threading.current_thread().name
        return loop, thread, variable.get()

    async def scene(call: Call) -> None:
        for _ in range(3):
            loop, _, text = await call(handler)
            assert loop is asyncio.get_running_loop()
            assert text == variable.get() == "set by the coroutine"

    play(scene)


def test_the_coroutine_that_a_call_waits_for_is_cancelled_with_it(play: Callable[[Scene], None]) -> None:
    async def scene(call: Call) -> None:
        began, ends = asyncio.Event(), []

        async def waits() -> None:
            began.set()
            try:
                await asyncio.sleep(3600)
            finally:
                ends.append("cancelled")

        task = asyncio.create_task(call(async_to_sync(waits)))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ends == ["cancelled"]
        assert await call(lambda: 1) == 1  # the thread is free

    play(scene)


def test_one_that_takes_no_notice_of_that_decides_itself(play: Callable[[Scene], None]) -> None:
    async def scene(call: Call) -> None:
        began = asyncio.Event()

        async def goes_on() -> str:
            began.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
            asyncio.get_running_loop().call_soon(time.sleep, 0.05)  # the thread is done before the loop looks
            return "done all the same"

        task = asyncio.create_task(call(async_to_sync(goes_on)))
        await began.wait()
        task.cancel()
        assert await task == "done all the same"

    play(scene)


def test_a_function_that_runs_when_its_call_is_cancelled_goes_on_and_the_next_waits(
    play: Callable[[Scene], None],
) -> None:
    async def scene(call: Call) -> None:
        release, began, done = threading.Event(), threading.Event(), []

        def slow() -> None:
            variable.set("of the one before")
            began.set()
            release.wait(20)
            done.append(1)

        first = asyncio.create_task(call(slow))
        await asyncio.to_thread(began.wait, 20)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        second = asyncio.create_task(call(lambda: (list(done), variable.get())))
        await asyncio.sleep(0)
        release.set()
        assert await second == ([1], "nothing")

    play(scene)


class Plain(SyncConsumer):
    """Remembers in which threads it was called."""

    def test_event(self, message: dict[str, Any]) -> None:
        message["names"].append(threading.current_thread().name)


class WithOwnDispatch(Plain):
    """Has a way of its own to its handlers."""

    async def dispatch(self, message: dict[str, Any]) -> None:  # type: ignore[override]
        if "names" in message:
            message["names"].append("dispatch")
        await super().dispatch(message)  # type: ignore[func-returns-value]


class Lease:
    """What a scope has where an application is hosted."""

    channel_name = "connection"


async def names_of(consumer: SyncConsumer) -> list[str]:
    names: list[str] = []
    events = iter([{"type": "test.event", "names": names}])

    async def receive() -> dict[str, Any]:
        return next(events, {"type": "test.stop"})

    async def send(event: dict[str, Any]) -> None: ...

    def stop(message: dict[str, Any]) -> None:
        raise StopConsumer

    consumer.test_stop = stop  # type: ignore[attr-defined]
    await consumer({"type": "test", "extensions": {"millrace.lease": Lease()}}, receive, send)
    return names


def test_a_consumer_that_has_its_own_way_to_its_handlers_keeps_it() -> None:
    async def scene(consumer: SyncConsumer) -> list[str]:
        side = SyncThreads(1)
        side.enter()
        names = await names_of(consumer)
        side.leave()
        side.close()
        return names

    assert asyncio.run(scene(Plain())) == ["worker-async-sync-1"]
    assert asyncio.run(scene(WithOwnDispatch())) == ["dispatch", "worker-async-sync-1"]


def test_a_thread_that_middleware_has_chosen_is_used() -> None:
    async def scene() -> list[str]:
        side = SyncThreads(1)
        side.enter()
        context = ThreadSensitiveContext()
        with ThreadPoolExecutor(1, "chosen") as executor:
            run_in(executor, context)
            names = await names_of(Plain())
        side.leave()
        side.close()
        return names

    assert cast(Any, asyncio.run(scene())) == ["chosen_0"]
