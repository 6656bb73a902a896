"""The event loop of a worker, in its own thread."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from workers import event_loop as module
from workers.event_loop import EventLoop, end_tasks, track_tasks

from .interleaving import Scene, interleave


@pytest.fixture
def ended() -> list[str]:
    return []


@pytest.fixture
def loop(ended: list[str]) -> Iterator[EventLoop]:
    async def at_end() -> None:
        ended.append(threading.current_thread().name)

    made = EventLoop(at_end)
    yield made
    made.close()


def run(loop: EventLoop, coroutine: Any) -> Any:
    return asyncio.run_coroutine_threadsafe(coroutine, loop.get()).result(60)


def test_it_starts_when_it_is_first_asked_for_and_once_if_two_threads_ask() -> None:
    async def at_end() -> None:
        loops.append(asyncio.get_running_loop())

    loops: list[asyncio.AbstractEventLoop] = []

    def scene() -> Scene:
        loops.clear()
        loop = EventLoop(at_end)
        assert loop.running is None
        started: list[asyncio.AbstractEventLoop] = []

        def check() -> None:
            loop.close()
            assert started == loops * 2

        return lambda: started.append(loop.get()), lambda: started.append(loop.get()), check

    interleave(scene, module)


def test_its_end_cancels_what_runs_and_comes_last_of_all(loop: EventLoop, ended: list[str]) -> None:
    begun = threading.Event()

    async def linger() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("task")

    asyncio.run_coroutine_threadsafe(linger(), loop.get())
    assert begun.wait(20)
    loop.close()
    assert ended == ["task", "worker-async"]
    assert "worker-async" not in [one.name for one in threading.enumerate()]


def test_one_that_never_started_has_no_end(loop: EventLoop, ended: list[str]) -> None:
    loop.close()
    loop.watch(busy=True)
    assert (loop.running, ended) == (None, [])


def test_tasks_are_tracked_by_the_context_they_are_made_in(loop: EventLoop) -> None:
    async def linger() -> None:
        await asyncio.sleep(3600)

    async def main() -> tuple[int, int, bool]:
        tracked = track_tasks()
        own = asyncio.create_task(linger())
        asyncio.get_running_loop().create_task(linger(), context=contextvars.Context())
        await asyncio.sleep(0)
        before = len(tracked.running)
        await end_tasks(tracked)
        return before, len(tracked.running), own.cancelled()

    assert run(loop, main()) == (1, 0, True)


def test_a_loop_that_is_held_up_is_reported_once_and_one_that_answers_never(
    loop: EventLoop, eventually: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.event_loop.HELD_UP_SECONDS", 60)
    release = threading.Event()

    def look() -> bool:
        loop.watch(busy=True)
        return "held up" in caplog.text

    for _ in range(3):
        loop.watch(busy=True)
        run(loop, asyncio.sleep(0))
    assert caplog.text == ""
    loop.get().call_soon_threadsafe(release.wait, 20)
    for _ in range(3):
        assert not look(), "it has not been for long"
    monkeypatch.setattr("workers.event_loop.HELD_UP_SECONDS", 0.02)
    eventually(look, "the report")
    look()
    release.set()
    run(loop, asyncio.sleep(0))
    assert caplog.text.count("held up") == 1


def test_a_coroutine_can_run_a_program_although_the_loop_is_not_that_of_the_main_thread(loop: EventLoop) -> None:
    async def answer() -> tuple[bytes, int | None]:
        command = (sys.executable, "-c", "print('from a program'); raise SystemExit(3)")
        program = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said, _ = await program.communicate()
        return said, program.returncode

    assert run(loop, answer()) == (b"from a program\n", 3)
