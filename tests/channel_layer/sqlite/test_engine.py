"""What a layer holds in a process."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from channel_layer.sqlite import engine as engine_module
from channel_layer.sqlite.engine import Engine
from channel_layer.sqlite.location import Location
from tests.channel_layer.interleaving import Intruder


def test_async_work_before_the_file_is_open_happens_in_one_other_thread_in_order(tmp_path: Path) -> None:
    engine = Engine(Location(tmp_path / "layer.sqlite3"), lambda: None)
    done: list[tuple[int, str]] = []

    async def main() -> None:
        await asyncio.gather(
            *(engine.run(lambda n=n: done.append((n, threading.current_thread().name))) for n in range(10))
        )

    asyncio.run(main())
    engine.close()
    assert [n for n, _ in done] == list(range(10))
    assert len({name for _, name in done}) == 1
    assert done[0][1] != threading.current_thread().name


def test_two_event_loops_that_come_at_once_share_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(Location(tmp_path / "layer.sqlite3"), lambda: None)
    intruder = Intruder(lambda: asyncio.run(engine.run(threading.get_ident)))

    made: list[ThreadPoolExecutor] = []

    def executor(*arguments: Any) -> ThreadPoolExecutor:
        intruder()
        made.append(ThreadPoolExecutor(*arguments))
        return made[-1]

    monkeypatch.setattr(engine_module, "ThreadPoolExecutor", executor)
    asyncio.run(engine.run(threading.get_ident))
    intruder.finish()
    engine.close()
    assert len(made) == 1


def test_it_can_be_used_again_after_closing(tmp_path: Path) -> None:
    engine = Engine(Location(tmp_path / "layer.sqlite3"), lambda: None)
    for _ in range(2):
        assert asyncio.run(engine.run(lambda: 7)) == 7
        engine.close()
        engine.close()


def test_what_needs_no_waiting_is_done_on_the_loop(tmp_path: Path) -> None:
    engine = Engine(Location(tmp_path / "layer.sqlite3"), lambda: None)
    engine.database.write(lambda connection: None)
    assert asyncio.run(engine.run(threading.get_ident)) == threading.get_ident()
    engine.close()


def test_what_would_have_to_wait_is_begun_again_in_a_thread(tmp_path: Path) -> None:
    path = tmp_path / "layer.sqlite3"
    engine = Engine(Location(path), lambda: None)
    engine.database.write(lambda connection: None)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    begun: list[int] = []
    done: list[str] = []

    def first() -> int:
        begun.append(threading.get_ident())
        if len(begun) == 2:
            other.rollback()
        here = engine.database.write(lambda connection: threading.get_ident())
        done.append("first")
        return here

    async def main() -> int:
        in_thread, _ = await asyncio.gather(engine.run(first), engine.run(lambda: done.append("second")))
        return in_thread

    in_thread = asyncio.run(main())
    assert begun == [threading.get_ident(), in_thread]
    assert in_thread != threading.get_ident()
    assert done == ["first", "second"]
    other.close()
    engine.close()
