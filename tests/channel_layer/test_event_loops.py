"""Which event loop servers and workers run on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from channel_layer.event_loops import new_event_loop, write_pieces

LOOP = """
from channel_layer.event_loops import new_event_loop
loop = new_event_loop()
print(type(loop).__module__.partition(".")[0])
loop.close()
"""


@pytest.mark.parametrize("there", [True, False])
def test_it_is_that_of_uvloop_where_there_is_one(tmp_path: Path, there: bool) -> None:
    if not there:
        (tmp_path / "uvloop.py").write_text("raise ImportError('as where there is none')\n")
    command = [sys.executable, "-c", LOOP]
    run = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == ("uvloop" if there else "asyncio"), run.stderr


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, new_event_loop])
def test_pieces_arrive_as_they_are_on_any_loop(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    pieces = [os.urandom(size) for size in (3, 1_000_000, 0, 20_000, 1, 3_000_000)]

    async def test() -> bytes:
        got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got.set_result(await reader.read(-1))
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            write_pieces(writer.transport, pieces)
            writer.write_eof()
            async with asyncio.timeout(20):
                result = await got
            writer.close()
        return result

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(test()) == b"".join(pieces)
