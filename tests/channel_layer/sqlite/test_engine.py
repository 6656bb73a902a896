"""What a layer holds in a process."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from channel_layer.sqlite.engine import Engine


def test_async_work_happens_in_one_other_thread_in_order(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "layer.sqlite3", False, lambda: None)
    done: list[tuple[int, str]] = []

    async def main() -> None:
        await asyncio.gather(
            *(engine.in_thread(lambda n=n: done.append((n, threading.current_thread().name))) for n in range(10))
        )

    asyncio.run(main())
    engine.close()
    assert [n for n, _ in done] == list(range(10))
    assert len({name for _, name in done}) == 1
    assert done[0][1] != threading.current_thread().name


def test_it_can_be_used_again_after_closing(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "layer.sqlite3", False, lambda: None)
    for _ in range(2):
        assert asyncio.run(engine.in_thread(lambda: 7)) == 7
        engine.close()
        engine.close()
