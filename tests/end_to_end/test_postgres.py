"""Pages, sockets and deploys over the PostgreSQL layer: daphne and workers as real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from channel_layer.exceptions import LayerUnavailable
from channel_layer.postgres import PostgresChannelLayer
from tests.conftest import free_port, running_pgbouncer, running_postgres, server_directory, wait_until
from tests.end_to_end.processes import Project

pytestmark = pytest.mark.slow

PRESENCE = 3
SOCKETS = 20


class Database:
    """A server that can be stopped and started again at the same address."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._port = directory, free_port()
        self._running = ExitStack()

    def start(self) -> None:
        self.dsn, self._process = self._running.enter_context(running_postgres(self._directory, self._port))

    def crash(self) -> None:
        postmaster = int((self._directory / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGQUIT)
        self._process.wait(30)

    def stop(self) -> None:
        self._running.close()


@pytest.fixture
def database() -> Iterator[Database]:
    with server_directory() as directory:
        database = Database(directory)
        database.start()
        yield database
        database.stop()


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("process", ["daphne", "runworker"])
def test_behind_a_pooler_that_loses_notifications_nobody_starts_and_one_sentence_says_what_to_do(
    postgres_dsn: str, tmp_path: Path, process: str, mode: str
) -> None:
    package = "tests.fixtures.sockets_project"
    with running_pgbouncer(postgres_dsn, mode) as dsn:
        project = Project(package, tmp_path, {"REDIS_URL": "", "POSTGRES_DSN": dsn, "ENDS": ""}, workers=1)
        service = project.web if process == "daphne" else project.workers[0]
        result = subprocess.run(
            service.command, env=service.environment, cwd=service.cwd, capture_output=True, text=True, timeout=120
        )
    assert result.returncode == 1, result.stdout + result.stderr
    (line,) = result.stderr.splitlines()
    assert "LISTEN does not work at 127.0.0.1:" in line
    assert line.endswith(
        ": set PgBouncer's pool_mode to session for this user, or give the address of PostgreSQL itself in CONFIG "
        "(dsn)."
    )


def test_behind_a_pooler_that_keeps_connections_everything_goes_through(postgres_dsn: str, tmp_path: Path) -> None:
    with running_pgbouncer(postgres_dsn, "session") as dsn:
        environment = {"REDIS_URL": "", "POSTGRES_DSN": dsn, "ENDS": str(tmp_path / "ends")}
        with (
            Project("tests.fixtures.sockets_project", tmp_path, environment, workers=1) as project,
            connect(f"ws://127.0.0.1:{project.port}/") as socket,
        ):
            assert echo(socket, "through") == "through"


def echo(socket: ClientConnection, text: str) -> Any:
    socket.send(text)
    return socket.recv(60)


def test_sockets_and_groups_outlive_workers_and_a_crash_of_the_server(database: Database, tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    environment = {"REDIS_URL": "", "POSTGRES_DSN": database.dsn, "PRESENCE": str(PRESENCE), "ENDS": str(ends)}
    layer = PostgresChannelLayer(database.dsn, presence=PRESENCE)
    with Project("tests.fixtures.sockets_project", tmp_path, environment, workers=1) as project, ExitStack() as stack:
        sockets = [stack.enter_context(connect(f"ws://127.0.0.1:{project.port}/")) for _ in range(SOCKETS)]
        assert [echo(socket, str(n)) for n, socket in enumerate(sockets)] == [str(n) for n in range(SOCKETS)]
        layer.send_group("everybody", {"text": "all"})
        assert [socket.recv(60) for socket in sockets] == ["all"] * SOCKETS
        project.stop_workers()
        for n, socket in enumerate(sockets):
            socket.send(f"while nobody is there {n}")
        project.start_workers()
        assert [socket.recv(60) for socket in sockets] == [f"while nobody is there {n}" for n in range(SOCKETS)]

        database.crash()
        database.start()

        def told() -> bool:
            try:
                layer.send_group("everybody", {"text": "again"})
                return len(layer.group_channels("everybody")) == SOCKETS
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
    layer.close()


def test_an_instance_of_channels_4_goes_on_in_another_worker(database: Database, tmp_path: Path) -> None:
    environment = {"REDIS_URL": "", "POSTGRES_DSN": database.dsn, "DJANGO_SETTINGS_MODULE": "tests.fixtures.quick_demo"}
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
