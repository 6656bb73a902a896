"""Calls from threads and event loops into the loop of one thread."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from channel_layer.rabbitmq.loop_thread import LoopThread


async def where() -> int:
    return threading.get_ident()


def test_threads_and_loops_share_one_thread() -> None:
    thread = LoopThread("tests")
    found = {thread.run(where()), thread.run(where()), asyncio.run(thread.arun(where))}
    assert len(found) == 1
    assert found != {threading.get_ident()}
    assert thread.is_idle


def test_errors_reach_the_caller() -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        LoopThread("tests").run(fail())


def test_a_cancelled_caller_cancels_the_call() -> None:
    thread = LoopThread("tests")
    begun, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def main() -> None:
        waiting = asyncio.ensure_future(thread.arun(wait))
        await asyncio.to_thread(begun.wait, 30)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())
    assert ended.wait(30)


def test_a_forked_process_begins_anew() -> None:
    thread = LoopThread("tests")
    parent = thread.run(where())
    read, write = os.pipe()
    if not os.fork():
        thread.forget()
        os.write(write, b"%d" % (thread.run(where()) != 0))
        os._exit(0)
    assert os.read(read, 1) == b"1"
    os.wait()
    assert thread.run(where()) == parent
    os.close(read)
    os.close(write)


def test_a_call_that_was_cancelled_before_its_turn_is_not_made() -> None:
    thread = LoopThread("tests")
    done: list[str] = []
    begun, goes_on = threading.Event(), threading.Event()

    async def hold() -> None:
        begun.set()
        goes_on.wait(30)

    async def work() -> None:
        done.append("work")

    async def main() -> None:
        holding = asyncio.ensure_future(thread.arun(hold))
        await asyncio.to_thread(begun.wait, 30)
        working = asyncio.ensure_future(thread.arun(work))
        await asyncio.sleep(0)
        working.cancel()
        await asyncio.wait([working])
        goes_on.set()
        await holding
        await thread.arun(lambda: thread.withdrawn(30))

    asyncio.run(main())
    assert done == []
    thread.stop()


def test_calls_whose_callers_have_gone_keep_it_from_nothing_and_can_be_waited_for() -> None:
    thread = LoopThread("tests")
    done: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(10):
                await asyncio.sleep(0)
            done.append("wait")

    async def main() -> None:
        waiting = asyncio.ensure_future(thread.arun(wait))
        await asyncio.sleep(0)
        await thread.arun(where)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert thread.is_idle
        await thread.arun(lambda: thread.withdrawn(30))

    asyncio.run(main())
    assert done == ["wait"]
    thread.stop()
