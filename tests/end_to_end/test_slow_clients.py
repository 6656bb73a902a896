"""Clients that take their time, in any number, cost a worker no thread. One worker with four threads."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import resource
import socket
import statistics
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.conftest import wait_until
from tests.end_to_end.processes import Project
from tests.fixtures.files_project.urls import MEBIBYTE

pytestmark = pytest.mark.slow

THREADS = 4
CROWD = 500
PROMPT_SECONDS = 30.0
"""What a plain view may take on a busy machine. With all threads taken it would take a minute."""

GRACE = 4.0


@pytest.fixture(scope="module")
def files(
    new_database: Callable[[], str], many_descriptors: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """The project being served, by one worker."""
    with Project(
        "tests.fixtures.files_project", tmp_path_factory.mktemp("slow"), {"REDIS_URL": new_database()}, 1
    ) as one:
        yield one


@pytest.fixture(scope="module")
def many_descriptors() -> Iterator[None]:
    """Room for a crowd, here and in the processes that are started from here."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * CROWD + 500
    if 0 <= most < wanted:
        pytest.skip(f"this needs {wanted} descriptors, and the system allows {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before, wanted), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


def seconds_of_a_view(files: Project) -> float:
    began = time.perf_counter()
    with urllib.request.urlopen(files.url + "/", timeout=60) as response:
        assert response.read() == b"here"
    return time.perf_counter() - began


def open_socket(files: Project, head: str) -> socket.socket:
    """A connection that has asked for something, and whose client takes little at a time."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.settimeout(60)
    one.connect(("127.0.0.1", files.port))
    one.sendall(head.replace("\n", "\r\n").encode() + b"Host: localhost\r\n\r\n")
    return one


def listening(files: Project) -> int:
    with urllib.request.urlopen(files.url + "/events/count/", timeout=60) as response:
        return int(response.read())


def stalled_upload(files: Project) -> socket.socket:
    one = open_socket(files, f"POST /upload/body/ HTTP/1.1\nContent-Length: {MEBIBYTE}\n")
    one.sendall(b"x" * 300_000)
    return one


def unread_download(files: Project) -> socket.socket:
    one = open_socket(files, "GET /streamed/8/ HTTP/1.1\n")
    assert one.recv(1)
    return one


def event_source(files: Project) -> socket.socket:
    one = open_socket(files, "GET /events/ HTTP/1.1\n")
    got = b""
    while b"hello" not in got:
        got += one.recv(1000)
    return one


@pytest.mark.parametrize("client", [stalled_upload, unread_download, event_source])
def test_as_many_slow_clients_as_there_are_threads_keep_nobody_waiting(
    files: Project, client: Callable[[Project], socket.socket]
) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(THREADS + 1):
            stack.enter_context(client(files))
        assert seconds_of_a_view(files) < PROMPT_SECONDS


def test_a_stream_that_waits_ends_when_its_client_leaves(files: Project) -> None:
    wait_until(lambda: listening(files) == 0, "the end of what ran before")
    sockets = [event_source(files) for _ in range(THREADS + 1)]
    assert listening(files) == THREADS + 1
    for one in sockets:
        one.close()
    wait_until(lambda: listening(files) == 0, "the end of the streams", within=PROMPT_SECONDS)


def test_a_chunked_upload_of_300_kb_has_a_length(files: Project) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", files.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", "/upload/length/", iter([b"x" * 100_000] * 3), encode_chunked=True)
        assert connection.getresponse().read() == b"300000 of 300000"


class Crowd:
    """Many slow clients, on an event loop in a thread of its own.

    Attributes:
        ready: how many have been heard by the server.
    """

    def __init__(self, port: int) -> None:
        self.ready = 0
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._tasks: list[Any] = []
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    def add(self, count: int, client: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """So many clients more, once those before are there."""
        expected = self.ready + count
        self._tasks += [asyncio.run_coroutine_threadsafe(client(), self._loop) for _ in range(count)]
        wait_until(lambda: self.ready >= expected or any(task.done() for task in self._tasks), "the crowd", within=60)
        assert [task.exception() for task in self._tasks if task.done()] == []

    async def upload(self) -> None:
        """A kilobyte each second."""
        async with self._connected(f"POST /upload/body/ HTTP/1.1\r\nContent-Length: {MEBIBYTE}\r\n") as (_, writer):
            writer.write(b"x" * 20_000)
            await writer.drain()
            self.ready += 1
            while True:
                writer.write(b"x" * 1000)
                await asyncio.sleep(1)

    async def download(self) -> None:
        """The same in the other direction."""
        async with self._connected("GET /streamed/1/ HTTP/1.1\r\n") as (reader, _):
            await reader.readuntil(b"first")
            self.ready += 1
            while True:
                assert await reader.read(1000)
                await asyncio.sleep(1)

    async def listen(self) -> None:
        """An EventSource."""
        async with self._connected("GET /events/ HTTP/1.1\r\n") as (reader, _):
            await reader.readuntil(b"hello")
            self.ready += 1
            await reader.read()

    @contextlib.asynccontextmanager
    async def _connected(self, head: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.setblocking(False)
        await self._loop.sock_connect(one, ("127.0.0.1", self._port))
        reader, writer = await asyncio.open_connection(sock=one, limit=2000)
        try:
            writer.write(head.encode() + b"Host: localhost\r\n\r\n")
            yield reader, writer
        finally:
            writer.transport.abort()


def percentile_99(files: Project) -> float:
    return statistics.quantiles([seconds_of_a_view(files) for _ in range(150)], n=100)[98]


def test_a_crowd_of_slow_clients_costs_a_plain_view_little_and_the_web_server_no_memory(files: Project) -> None:
    alone = percentile_99(files)
    memory = files.web.memory("VmRSS")
    with Crowd(files.port) as crowd:
        crowd.add(CROWD, crowd.upload)
        crowd.add(CROWD, crowd.listen)
        crowd.add(CROWD, crowd.download)
        # A machine that others use, too, may need another try; with threads taken none of them would do.
        found = wait_until(lambda: p99 if (p99 := percentile_99(files)) < 2 * alone + 0.5 else None, "a good p99", 60)
        grown = files.web.memory("VmRSS") - memory
        assert listening(files) == CROWD
    print(f"p99 {found * 1000:.0f} ms instead of {alone * 1000:.0f}, daphne grew by {grown / MEBIBYTE:.1f} MiB")
    assert grown < 64 * MEBIBYTE


def test_a_worker_that_stops_gives_streams_a_share_of_its_grace_and_then_breaks_them_off(
    files: Project, tmp_path: Any
) -> None:
    worker = files.workers[0]
    worker.stop()
    worker.command += ["--grace", f"{GRACE:g}"]
    worker.start()
    files.wait_for_page()

    def is_done_in_time() -> bool:
        with event_source(files) as one:
            began = time.monotonic()
            worker.stop()
            spent = time.monotonic() - began
            assert spent >= GRACE / 2
            assert one.recv(1000) == b""  # cut, not ended as if it were whole
        worker.start()
        files.wait_for_page()
        return spent < GRACE + 1

    # A machine that others use, too, may need another try; what waits for the whole grace and longer never does it.
    wait_until(is_done_in_time, "an end within the grace")
