"""A Redis of a test's own, and a proxy in front of one that cuts connections."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis

from channel_layer.redis import RedisChannelLayer
from tests.conftest import free_port, wait_until

T = TypeVar("T")


def open_descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


class OwnRedis:
    """A server that a test may kill, freeze and start again on the same port, always empty."""

    def __init__(self, program: str, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        listen = ["--port", str(self.port), "--bind", "127.0.0.1"]
        self._command = [program, *listen, "--save", "", "--dir", str(directory)]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._accepts, f"Redis on port {self.port}")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def ask(self, *words: Any) -> Any:
        """A command, on a connection of its own."""
        with redis.Redis.from_url(self.url) as client:
            return client.execute_command(*words)

    def _accepts(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(5) == b"+PONG"
        except OSError:
            return False


class CuttingProxy:
    """Passes bytes to a server and back, but cuts the connection in place of every so-many-th answer to a push."""

    STORED = b"$-1\r\n"

    def __init__(self, port: int, every: int) -> None:
        self.cuts = 0
        self._answers = 0
        self._every = every
        self._lock = threading.Lock()
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            # A pipeline may have several pushes.
            while (data := source.recv(65536)) and (data.replace(self.STORED, b"") or not self._is_to_be_cut()):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def _is_to_be_cut(self) -> bool:
        with self._lock:
            self._answers += 1
            cut = self._answers % self._every == 0
            self.cuts += cut
        return cut


class Several:
    """Names that lie on certain servers of several."""

    def __init__(self, layer: RedisChannelLayer) -> None:
        self._layer = layer

    def name(self, shard: int, ending: str = "") -> str:
        host_of = self._layer._storage.host_of
        return next(name for n in range(1000) if host_of(name := f"n{n}{ending}") == shard)


@contextmanager
def own_servers(program: str, directory: Path, count: int) -> Iterator[list[OwnRedis]]:
    """Servers that a test may stop, until the end of the block."""
    servers = [OwnRedis(program, directory) for _ in range(count)]
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.kill()


@pytest.fixture
def own_redis(redis_server: str, tmp_path: Path) -> Iterator[OwnRedis]:
    with own_servers(redis_server, tmp_path, 1) as [server]:
        yield server


@pytest.fixture
def three_redis(redis_server: str, tmp_path: Path) -> Iterator[list[OwnRedis]]:
    """Servers to spread channels over."""
    with own_servers(redis_server, tmp_path, 3) as servers:
        yield servers


MakeRedisLayer = Callable[..., RedisChannelLayer]


@pytest.fixture
def make_redis_layer() -> Iterator[MakeRedisLayer]:
    """Makes layers, by default all with one prefix of the test's own, and closes them afterwards."""
    made: list[RedisChannelLayer] = []
    prefix = f"test-{uuid.uuid4().hex}:"

    def make(*urls: str, **options: Any) -> RedisChannelLayer:
        made.append(RedisChannelLayer(hosts=urls, **{"prefix": prefix, **options}))
        return made[-1]

    yield make
    for layer in made:
        layer.close()


def in_loop(layer: RedisChannelLayer, call: Coroutine[Any, Any, T]) -> T:
    """Run one call of the async side in an event loop of its own."""

    async def run() -> T:
        try:
            return await call
        finally:
            await layer.aclose()

    return asyncio.run(run())
