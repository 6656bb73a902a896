"""A web server that is killed, stopped or held up, with many sockets: consumers hear of the end of each, once."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as sync_connect
from websockets.typing import Origin

from channel_layer.layer import ChannelLayer
from tests.conftest import free_port, wait_until
from tests.end_to_end.layers import layer_of
from tests.end_to_end.processes import Project, Service, daphne
from tests.fixtures.freezing import frozen
from tests.fixtures.sockets_project.consumers import GROUP

SOCKETS = 500
AT_ONCE = 50
PRESENCE = 3.0
PACKAGE = "tests.fixtures.sockets_project"


class Clients:
    """Many WebSockets on an event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.sockets: list[ClientConnection] = []

    def open(self, port: int, count: int) -> None:
        """Open so many more, each accepted by a consumer."""
        self.sockets += self._run(self._open(f"ws://127.0.0.1:{port}/", count))

    def echo(self, socket: ClientConnection) -> Any:
        """What comes back for a frame."""
        return self._run(self._echo(socket))

    def codes(self) -> list[int | None]:
        """With which code each was closed, once all are."""
        return self._run(self._codes())

    def close(self) -> None:
        """Let go of everything."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    def _run(self, work: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(60)

    async def _open(self, url: str, count: int) -> list[ClientConnection]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one() -> ClientConnection:
            async with gate:
                return await connect(url, ping_interval=None, compression=None, open_timeout=30)

        return await asyncio.gather(*(one() for _ in range(count)))

    async def _close(self) -> None:
        for socket in self.sockets:
            socket.transport.abort()
        await asyncio.gather(*(socket.wait_closed() for socket in self.sockets))

    async def _echo(self, socket: ClientConnection) -> Any:
        await socket.send("hello")
        return await socket.recv()

    async def _codes(self) -> list[int | None]:
        async def one(socket: ClientConnection) -> int | None:
            try:
                while True:
                    await socket.recv()
            except ConnectionClosed:
                return socket.close_code

        return await asyncio.gather(*map(one, self.sockets))


@pytest.fixture
def clients() -> Iterator[Clients]:
    clients = Clients()
    yield clients
    clients.close()


class Ends:
    """What the consumers of ``websocket.disconnect`` have written down."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []

    def wait_for(self, count: int) -> list[str]:
        """The lines, once there are so many."""
        return wait_until(
            lambda: found if len(found := self.lines()) >= count else None, f"{count} ends in {self._path}", within=60
        )


@pytest.fixture
def ends(tmp_path: Path) -> Ends:
    return Ends(tmp_path / "ends")


@pytest.fixture
def project(broker: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Project]:
    """A web server and a worker; a process counts as gone after three seconds."""
    environment = broker | {"ENDS": str(tmp_path / "ends"), "PRESENCE": str(PRESENCE)}
    failed_before = request.session.testsfailed
    with Project(PACKAGE, tmp_path, environment, workers=1) as project:
        yield project
        if request.session.testsfailed > failed_before:
            print(project.logs())


@pytest.fixture
def layer(broker: dict[str, str]) -> Iterator[ChannelLayer]:
    """The layer of the project's processes."""
    made = layer_of(broker, PRESENCE)
    yield made
    made.close()


def nothing_more_comes(ends: Ends, count: int) -> bool:
    """Whether nobody is told again, in the time in which last wills would be carried out."""
    time.sleep(2 * PRESENCE)
    return len(ends.lines()) == count


@pytest.mark.parametrize("survivors", ["a worker", pytest.param("a worker and a web server", marks=pytest.mark.slow)])
def test_each_socket_of_a_killed_server_is_reported_once_and_has_left_its_groups(
    project: Project, survivors: str, clients: Clients, ends: Ends, layer: Any, tmp_path: Path
) -> None:
    command = [daphne(), f"{PACKAGE}.asgi:channel_layer", "-p", str(free_port())]
    other = Service("other-web", command, project.environment, tmp_path)
    if survivors != "a worker":
        other.start()
    try:
        clients.open(project.port, SOCKETS)
        wait_until(lambda: len(layer.group_channels(GROUP)) == SOCKETS, "all sockets in the group")
        members = set(layer.group_channels(GROUP))
        project.web.kill()
        lines = ends.wait_for(SOCKETS)
        assert {line.split()[0] for line in lines} == members
        assert {line.split()[1] for line in lines} == {"1006"}
        assert layer.group_channels(GROUP) == []
        assert nothing_more_comes(ends, SOCKETS)
    finally:
        other.kill()


@pytest.mark.slow
@pytest.mark.both_brokers
def test_each_socket_of_a_stopped_server_is_reported_once(project: Project, clients: Clients, ends: Ends) -> None:
    clients.open(project.port, SOCKETS)
    project.web.running.terminate()
    assert clients.codes() == [1012] * SOCKETS
    project.web.wait_for_end()
    lines = ends.wait_for(SOCKETS)
    assert len({line.split()[0] for line in lines}) == SOCKETS
    assert {line.split()[1] for line in lines} == {"1012"}
    assert nothing_more_comes(ends, SOCKETS)


@pytest.mark.slow
def test_a_server_that_was_held_up_closes_what_was_reported_and_goes_on(
    project: Project, clients: Clients, ends: Ends, layer: Any
) -> None:
    count = 100
    clients.open(project.port, count)
    process = project.web.running
    with frozen(process.pid):
        lines = ends.wait_for(count)
    assert len({line.split()[0] for line in lines}) == count
    assert clients.codes() == [1012] * count
    clients.open(project.port, 1)
    assert clients.echo(clients.sockets[-1]) == "hello"
    assert nothing_more_comes(ends, count)
    assert len(layer.group_channels(GROUP)) == 1
    assert clients.echo(clients.sockets[-1]) == "hello"
    process.terminate()
    project.web.wait_for_end()
    assert ends.wait_for(count + 1)[-1].split()[1] == "1012"


@pytest.fixture
def hosted(broker: dict[str, str], tmp_path: Path) -> Iterator[Project]:
    """An application of Channels 4; its instances are let go after a second without an event."""
    package = "tests.fixtures.channels4_project"
    settings = {"DJANGO_SETTINGS_MODULE": f"{package}.vigilant_settings", "PRESENCE": str(PRESENCE)}
    project = Project(package, tmp_path, broker | settings, workers=1)
    project.web.command[1] = f"{package}.asgi:application"
    project.workers[0].command += ["--idle-minutes", "0.02"]
    with project:
        yield project


def bequests(broker: dict[str, str]) -> int:
    """The number of last wills with what makes an application again."""
    if "CHANNEL_FILE" not in broker and not broker["REDIS_URL"]:
        pytest.skip("what the last wills of this layer hold cannot be looked at")
    if broker["REDIS_URL"]:
        with redis.Redis.from_url(broker["REDIS_URL"]) as client:
            wills = [will for key in client.scan_iter("asgi:w:?*") for will in client.hvals(key)]
    else:
        with closing(sqlite3.connect(broker["CHANNEL_FILE"])) as connection:
            wills = [data for (data,) in connection.execute("SELECT data FROM wills")]
    return sum(b"checkpoint" in will for will in wills)


@pytest.mark.slow
@pytest.mark.both_brokers
def test_applications_that_nobody_hosts_hear_once_that_their_server_was_killed(
    hosted: Project, broker: dict[str, str], layer: Any
) -> None:
    layer.group_add("chat_room", "ends")
    with ExitStack() as stack:
        sockets = []
        for number in range(1, 6):
            url = f"ws://127.0.0.1:{hosted.port}/ws/chat/room/"
            sockets.append(stack.enter_context(sync_connect(url, origin=Origin("http://localhost"))))
            for _ in range(number):
                sockets[-1].send('{"text": "x"}')
        wait_until(lambda: bequests(broker) == 5, f"applications to be let go\n{hosted.logs()}")
        sockets[0].send('{"text": "x"}')  # to the group: all are made again, and let go again
        wait_until(lambda: bequests(broker) < 5, "applications to be made again")
        wait_until(lambda: bequests(broker) == 5, "them to be let go again")
        hosted.web.kill()
    ends: list[dict[str, Any]] = []

    def receive() -> bool:
        messages = [delivery.message for delivery in layer.receive_batch(["ends"], limit=100)]
        ends.extend(message for message in messages if message["type"] == "chat.left")
        return len(ends) >= 5

    wait_until(receive, f"the ends of all\n{hosted.logs()}")
    hosted.workers[0].stop()
    receive()
    assert sorted((end["said"], end["code"]) for end in ends) == [(said, 1006) for said in (2, 2, 3, 4, 5)]
