"""Fixtures that every room's tests share."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

pytest.register_assert_rewrite("channel_layer.conformance")

T = TypeVar("T")
Eventually = Callable[..., object]

SERVERS = ("redis-server", "valkey-server")
HOW_TO_INSTALL = (
    "these tests need a Redis server, version 7 or later, and none of "
    f"{' and '.join(SERVERS)} is on PATH. Install one, for example: sudo apt-get install redis-server"
)


def wait_until(condition: Callable[[], T], what: str = "", within: float = 20.0) -> T:
    """Call ``condition`` until it returns something true, and return that.

    Fails after ``within`` seconds, saying what was awaited and what the last answer was. The deadline
    is there to end a test that hangs; it measures nothing.
    """
    deadline = time.monotonic() + within
    pause = 0.002
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"{what or 'the condition'} did not come true within {within:g} s; last answer: {answer!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


@pytest.fixture
def eventually() -> Callable[..., object]:
    """The helper `wait_until`: ``eventually(lambda: layer.receive(["x"])[0], "a message on x")``."""
    return wait_until


@pytest.fixture(scope="session")
def redis_server() -> str:
    """Path of a Redis or Valkey server's program."""
    for name in SERVERS:
        path = shutil.which(name)
        if path is not None:
            return path
    if os.environ.get("CI"):
        pytest.fail(HOW_TO_INSTALL)
    pytest.skip(HOW_TO_INSTALL)


@pytest.fixture(scope="session")
def redis_url(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real server that belongs to this test run. Tests share it, each under its own prefix."""
    with running_redis(redis_server, tmp_path_factory.mktemp("redis")) as url:
        yield url


@contextlib.contextmanager
def running_redis(program: str, directory: Path, *arguments: str) -> Iterator[str]:
    """A server on a free port, ready for connections, with nothing on disk; gives its URL."""
    port = free_port()
    log = directory / "server.log"
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "--dir", str(directory), *arguments], stdout=output, stderr=output)
        try:
            wait_until(lambda: process.poll() is not None or _accepts(port), f"{program} on port {port}")
            if process.poll() is not None:
                pytest.fail(f"{program} ended at once; its log:\n{log.read_text(errors='replace')}")
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait(20)


def free_port() -> int:
    """A TCP port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False
