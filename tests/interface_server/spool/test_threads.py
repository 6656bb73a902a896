"""Threads for the disk."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest

from channel_layer.heap import heap
from interface_server.spool.file import BLOCK, SpoolFile
from interface_server.spool.spool import LEAST, Spool
from interface_server.spool.threads import SpoolThreads
from tests.interface_server.helpers import become


class Sticky(SpoolFile):
    """A disk that takes nothing until it is let."""

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory), 64 * BLOCK, 1 << 30)
        self.writing = threading.Event()
        self.may_write = threading.Event()
        self.given_back: list[int] = []

    def take(self, count: int) -> list[int]:
        self.writing.set()
        assert self.may_write.wait(20)
        return super().take(count)

    def give_back(self, blocks: Iterable[int]) -> None:
        super().give_back(blocks := list(blocks))
        self.given_back += blocks


def in_loop(test: Callable[[SpoolThreads, Sticky], object], directory: Path) -> None:
    async def run() -> None:
        file = Sticky(directory)
        threads = SpoolThreads(file, asyncio.get_running_loop().call_soon_threadsafe)
        try:
            async with asyncio.timeout(20):
                await test(threads, file)  # type: ignore[misc]
        finally:
            file.may_write.set()
            await asyncio.to_thread(threads.close)

    asyncio.run(run())


def test_a_slow_disk_does_not_hold_up_the_event_loop_and_nothing_is_lost(tmp_path: Path) -> None:
    async def test(threads: SpoolThreads, file: Sticky) -> None:
        spool, content, moves = Spool(file, 0), os.urandom(1_200_000), []
        for start in range(0, 1_200_000, 400_000):
            spool.put(content[start : start + 400_000])
            threads.attend(spool, lambda: moves.append(threading.current_thread()))
        await asyncio.to_thread(file.writing.wait, 20)
        assert moves == []
        file.may_write.set()
        await become(lambda: spool.in_memory == LEAST)
        assert file.used == 5 * BLOCK
        taken = b""
        while spool.size:
            taken += spool.take(BLOCK)
            threads.attend(spool)
            await asyncio.sleep(0)
        assert taken == content
        assert set(moves) == {threading.current_thread()}

    in_loop(test, tmp_path)


def test_what_is_closed_meanwhile_is_given_back(tmp_path: Path) -> None:
    async def test(threads: SpoolThreads, file: Sticky) -> None:
        spool = Spool(file, 0)
        spool.put(b"x" * 300_000)
        threads.attend(spool)
        spool.close()
        threads.attend(spool)
        file.may_write.set()
        await become(lambda: len(file.given_back) == 2)
        assert file.used == 0

    in_loop(test, tmp_path)


def test_after_the_end_nothing_is_done(tmp_path: Path) -> None:
    file = SpoolFile(str(tmp_path), BLOCK, 0)
    threads = SpoolThreads(file, lambda call: call())
    threads.close()
    spool = Spool(file, 0)
    spool.put(b"x" * 100_000)
    threads.attend(spool)
    assert file.used == 0


def test_freed_memory_goes_back_now_and_then_while_something_is_spooled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(heap, "give_back", lambda: calls.append(0))
    monkeypatch.setattr(heap, "keeps_freed", False)  # a command that ran in this process may have set it
    file = SpoolFile(str(tmp_path), 4 * BLOCK, 0)
    threads = SpoolThreads(file, lambda call: call())
    threads.tick(100)
    file.take(1)
    for now in (101, 101.5, 101.9, 102):
        threads.tick(now)
    threads.close()
    threads.tick(200)
    assert calls == [0, 0]


def test_a_process_that_keeps_freed_memory_gives_it_back_now_and_then_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[float] = []
    threads = SpoolThreads(SpoolFile(str(tmp_path), BLOCK, 0), lambda call: call())
    for keeps in (False, True):
        monkeypatch.setattr(heap, "keeps_freed", keeps)
        for now in (100.0, 105.0, 109.9, 110.0, 119.0):
            monkeypatch.setattr(heap, "give_back", partial(calls.append, now))
            threads.tick(now)
    threads.close()
    assert calls == [100.0, 110.0]
