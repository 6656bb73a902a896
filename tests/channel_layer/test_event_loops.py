"""Which event loop servers and workers run on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
