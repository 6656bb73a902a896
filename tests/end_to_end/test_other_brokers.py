"""Pages, sockets and deploys over PostgreSQL and RabbitMQ: daphne and workers as real processes."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Protocol

import pytest
from websockets.sync.client import ClientConnection, connect

from channel_layer.exceptions import LayerUnavailable
from channel_layer.layer import ChannelLayer
from channel_layer.postgres import PostgresChannelLayer
from channel_layer.rabbitmq import RabbitmqChannelLayer
from tests.conftest import free_port, running_postgres, running_rabbitmq, server_directory, wait_until
from tests.end_to_end.processes import Project
from tests.fixtures.rabbitmq_server import RabbitmqServer

pytestmark = pytest.mark.slow

PRESENCE = 3
SOCKETS = 20


class Other(Protocol):
    """A server that can be ended and started again at the same address.

    Attributes:
        environment: of processes whose layer is on it.
    """

    environment: dict[str, str]

    def start(self) -> None: ...

    def crash(self) -> None: ...

    def stop(self) -> None: ...

    def layer(self) -> ChannelLayer: ...


class Postgres:
    def __init__(self, directory: Path) -> None:
        self._directory, self._port = directory, free_port()
        self._running = ExitStack()

    def start(self) -> None:
        self._dsn, self._process = self._running.enter_context(running_postgres(self._directory, self._port))
        self.environment = {"REDIS_URL": "", "POSTGRES_DSN": self._dsn}

    def crash(self) -> None:
        postmaster = int((self._directory / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGQUIT)
        self._process.wait(30)

    def stop(self) -> None:
        self._running.close()

    def layer(self) -> ChannelLayer:
        return PostgresChannelLayer(self._dsn, presence=PRESENCE)


class Rabbitmq:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server: RabbitmqServer | None = None
        self._running = ExitStack()

    def start(self) -> None:
        self._server = self._running.enter_context(running_rabbitmq(self._directory, self._server))
        self._url = self._server.url
        self.environment = {"REDIS_URL": "", "RABBITMQ_URL": self._url}

    def crash(self) -> None:
        self._running.close()

    def stop(self) -> None:
        self._running.close()

    def layer(self) -> ChannelLayer:
        return RabbitmqChannelLayer(self._url, presence=PRESENCE)


@pytest.fixture(params=[Postgres, Rabbitmq], ids=["postgres", "rabbitmq"])
def other(request: pytest.FixtureRequest) -> Iterator[Other]:
    with server_directory() as directory:
        other: Other = request.param(directory)
        other.start()
        yield other
        other.stop()


def echo(socket: ClientConnection, text: str) -> Any:
    socket.send(text)
    return socket.recv(60)


def test_sockets_and_groups_outlive_workers_and_a_crash_of_the_server(other: Other, tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    environment = other.environment | {"PRESENCE": str(PRESENCE), "ENDS": str(ends)}
    with ExitStack() as stack:
        layer = stack.enter_context(closing(other.layer()))
        project = stack.enter_context(Project("tests.fixtures.sockets_project", tmp_path, environment, workers=1))
        sockets = [stack.enter_context(connect(f"ws://127.0.0.1:{project.port}/")) for _ in range(SOCKETS)]
        assert [echo(socket, str(n)) for n, socket in enumerate(sockets)] == [str(n) for n in range(SOCKETS)]
        layer.send_group("everybody", {"text": "all"})
        assert [socket.recv(60) for socket in sockets] == ["all"] * SOCKETS
        project.stop_workers()
        for n, socket in enumerate(sockets):
            socket.send(f"while nobody is there {n}")
        project.start_workers()
        assert [socket.recv(60) for socket in sockets] == [f"while nobody is there {n}" for n in range(SOCKETS)]

        other.crash()
        other.start()

        def told() -> bool:
            try:
                if len(layer.group_channels("everybody")) < SOCKETS:
                    return False
                layer.send_group("everybody", {"text": "again"})
                return True
            except LayerUnavailable:
                return False

        wait_until(told, "the members to be there again")
        for socket in sockets:
            socket.send("end")
        heard = [[*iter(lambda socket=socket: socket.recv(60), "end")] for socket in sockets]  # type: ignore[misc]
        assert all(each and set(each) == {"again"} for each in heard)
        channels = set(layer.group_channels("everybody"))
        project.web.kill()
        lines = wait_until(
            lambda: found if ends.exists() and len(found := ends.read_text().splitlines()) >= SOCKETS else None,
            "each socket's end to be reported",
        )
        assert sorted(lines) == sorted(f"{channel} 1006" for channel in channels)


def test_an_instance_of_channels_4_goes_on_in_another_worker(other: Other, tmp_path: Path) -> None:
    environment = other.environment | {"DJANGO_SETTINGS_MODULE": "tests.fixtures.quick_demo"}
    with Project("demo", tmp_path, environment, workers=1) as project:
        urllib.request.urlopen(f"{project.url}/whiteboard/meadow/", timeout=60).close()  # the first visit makes it
        address = f"ws://127.0.0.1:{project.port}/whiteboard/meadow/"
        with connect(address, origin=f"http://127.0.0.1:{project.port}") as socket:  # type: ignore[arg-type]

            def draw(number: int) -> int:
                act = {"type": "draw", "n": number, "key": "a" * 16, "points": [number, number]}
                socket.send(json.dumps(act))
                while (said := json.loads(socket.recv(60)))["type"] != "done":
                    assert said["type"] != "refused", said
                return int(said["worker"])

            first = draw(1)
            project.stop_workers()
            project.start_workers()
            assert draw(2) != first
            socket.send(json.dumps({"type": "end", "n": 3, "key": "a" * 16}))
            while (said := json.loads(socket.recv(60)))["type"] != "change":
                assert said["type"] != "refused", said
            assert [drawn["points"] for drawn in said["drawn"]] == [[1, 1, 2, 2]]
