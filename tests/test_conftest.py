"""What the fixtures, hooks and defaults of the whole suite promise."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import redis
from websockets.sync.client import connect

from tests.conftest import HANDSHAKE_SECONDS

TESTS = """
import os
from collections.abc import Callable
from pathlib import Path
import pytest

@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(8))
def test_grouped(number):
    Path(f"{number}.worker").write_text(os.environ["PYTEST_XDIST_WORKER"])
"""


def test_tests_of_a_group_run_in_one_process(tmp_path: Path) -> None:
    """Otherwise each process starts servers and browsers of its own, and the suite takes three times as long."""
    (tmp_path / "test_groups.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "xdist", "-n", "2", "--dist", "loadgroup"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # all three would load what only other tests need
    run = subprocess.run(
        [*command, "-p", "no:cacheprovider", "."],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    workers = [path.read_text() for path in tmp_path.glob("*.worker")]
    assert len(workers) == 8
    assert len(set(workers)) == 1, "pytest and pytest-xdist do not go together: see setup.cfg"


def test_processes_that_tests_start_keep_compiled_modules(tmp_path: Path) -> None:
    """Otherwise each of hundreds compiles all that it imports."""
    (tmp_path / "compiled.py").touch()
    subprocess.run([sys.executable, "-c", "import compiled"], cwd=tmp_path, check=True, timeout=300)
    assert len(list(tmp_path.glob("__pycache__/compiled.*.pyc"))) == 1


def test_websockets_are_opened_with_the_patience_of_a_busy_machine() -> None:
    assert inspect.signature(connect).parameters["open_timeout"].default == HANDSHAKE_SECONDS
    assert HANDSHAKE_SECONDS >= 60


def test_a_new_database_is_another_each_time_and_empty(new_database: Callable[[], str]) -> None:
    urls = [new_database() for _ in range(20)]  # a server has 16 by default
    assert len(set(urls)) == len(urls)
    for url in urls:
        with redis.Redis.from_url(url) as client:
            assert client.dbsize() == 0
