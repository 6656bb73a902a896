"""``scripts/run_demo.py``, which is what ``make demo`` runs."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import free_port, wait_until
from tests.test_house import ROOT


class Demo:
    """The demo as ``make demo`` runs it, on a port and with files of its own."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.port = free_port()
        self.database = directory / "database.sqlite3"
        self.log = directory / "log"
        own = {"DATABASE_PATH": str(self.database), "CHANNEL_FILE": str(directory / "layer.sqlite3"), "REDIS_URL": ""}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "scripts/run_demo.py", str(self.port)],
                cwd=ROOT,
                env=os.environ | own | environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait_ready(self) -> str:
        """Wait for the lines that say where it is; the log so far."""
        wait_until(lambda: "Ctrl-C stops it" in self.log.read_text(), "the address", within=60)
        return self.log.read_text()

    def left(self) -> list[str]:
        """Command lines of the processes that belong to it."""
        mark = f"DATABASE_PATH={self.database}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found

    def kill(self) -> None:
        """Kill the process group, as somebody does who has no more patience; the rest ends by itself."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not self.left(), "the end of all it has started", within=60)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path)
    yield demo
    demo.kill()


def test_it_says_where_it_is_and_how_to_sign_in_and_ends_when_it_is_told_to(demo: Demo) -> None:
    said = demo.wait_ready()
    assert f"http://localhost:{demo.port}/" in said
    assert "ada, password: " in said
    assert "bob, password: " in said
    with urllib.request.urlopen(f"http://localhost:{demo.port}/prices/bitcoin/", timeout=20) as page:
        assert page.status == 200
    with closing(sqlite3.connect(demo.database, timeout=20)) as database:
        wait_until(lambda: database.execute("SELECT 1 FROM prices_price").fetchone(), "prices")
    assert any("daphne" in command for command in demo.left())
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(60) == 0, demo.log.read_text()
    assert demo.left() == []


def test_a_port_in_use_is_said_in_a_sentence(demo: Demo, tmp_path: Path) -> None:
    demo.wait_ready()
    command = [sys.executable, "scripts/run_demo.py", str(demo.port)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr.startswith(f"Port {demo.port} is in use")
