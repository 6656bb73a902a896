"""Brokers that cut their connections, refuse us, or cannot be used: web server and worker as real processes."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from websockets.sync.client import ClientConnection, connect

from tests.channel_layer.redis.conftest import OwnRedis, own_servers
from tests.conftest import wait_until
from tests.end_to_end.processes import ROOT, Project, daphne

PACKAGE = "tests.fixtures.sockets_project"
REFUSED = "Check user and password in 'hosts'"


@pytest.fixture
def servers(redis_server: str, tmp_path: Path) -> Iterator[list[OwnRedis]]:
    with own_servers(redis_server, tmp_path, 3) as servers:
        yield servers


def project_on(servers: list[OwnRedis], directory: Path) -> Project:
    environment = {"REDIS_URL": " ".join(server.url for server in servers), "ENDS": str(directory / "ends")}
    return Project(PACKAGE, directory, environment, workers=1)


def open_socket(project: Project) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{project.port}/", ping_interval=None)


def echo(socket: ClientConnection, text: str) -> str | bytes:
    socket.send(text)
    return socket.recv(60)


def status(project: Project) -> int:
    try:
        with urllib.request.urlopen(project.url, timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_a_worker_outlives_cut_connections_and_a_restart_of_each_of_several_servers(
    servers: list[OwnRedis], tmp_path: Path
) -> None:
    with project_on(servers, tmp_path) as project, open_socket(project) as socket:
        try:
            for number in range(5):
                for server in servers:
                    server.ask("CLIENT", "KILL", "TYPE", "normal")
                assert echo(socket, f"after cut {number}") == f"after cut {number}"
                assert status(project) == 200
            for number, server in enumerate(servers):
                server.kill()
                server.start()
                project.wait_for_page()
                assert echo(socket, f"after restart {number}") == f"after restart {number}"
            assert "Traceback" not in project.logs()
        except BaseException:
            print(project.logs())
            raise


def test_a_password_that_is_changed_is_said_once_by_both_and_drops_no_socket(
    servers: list[OwnRedis], tmp_path: Path
) -> None:
    server = servers[0]
    with project_on(servers[:1], tmp_path) as project, open_socket(project) as socket:
        assert echo(socket, "before") == "before"
        server.ask("CONFIG", "SET", "requirepass", "another")
        client = server.url.replace("redis://", "redis://:another@")
        cli(client, "CLIENT", "KILL", "TYPE", "normal")
        services = [project.web, *project.workers]
        for service in services:
            wait_until(lambda log=service: REFUSED in log.text(), f"the error in the log of {service.name}")
        assert status(project) == 503
        cli(client, "CONFIG", "SET", "requirepass", "")
        project.wait_for_page()
        assert echo(socket, "after") == "after"
        for service in services:
            assert service.running
            said = [line for line in service.text().splitlines() if REFUSED in line]
            assert len(said) == 1, service.text()
            assert "ERROR" in said[0]
            assert "another" not in service.text()


def cli(url: str, *words: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.execute_command(*words)


def test_both_refuse_to_start_on_a_server_that_cannot_be_used(servers: list[OwnRedis], tmp_path: Path) -> None:
    project = project_on(servers[:1], tmp_path)
    environment = project.web.environment | {"REDIS_URL": servers[0].url.replace("/0", "/99")}
    for command in ([daphne(), f"{PACKAGE}.asgi:channel_layer", "-p", "0"], [sys.executable, "manage.py", "runworker"]):
        ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 1
        assert "has no such database (DB index is out of range). Give a lower number" in ended.stderr
        assert "Traceback" not in ended.stderr
