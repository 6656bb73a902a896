"""Calls from threads and event loops into the loop of one thread."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from channel_layer.rabbitmq.loop_thread import LoopThread

from .conftest import until


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
    ended = threading.Event()

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def main() -> None:
        waiting = asyncio.ensure_future(thread.arun(wait))
        await until(lambda: not thread.is_idle)
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
