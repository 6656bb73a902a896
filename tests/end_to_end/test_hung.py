"""Consumers that hang, as real processes: who waits for them is told, and another process takes their place."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.conftest import wait_until
from tests.end_to_end.processes import Project

pytestmark = pytest.mark.slow

SECONDS = 60


def closed_with(client: ClientConnection) -> int:
    """The code that a WebSocket is closed with."""
    try:
        while True:
            client.recv(SECONDS)
    except ConnectionClosed as end:
        return 1006 if end.rcvd is None else end.rcvd.code


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def sockets(redis_url: str, tmp_path: Path, *options: str) -> Project:
    environment = {"REDIS_URL": redis_url, "ENDS": str(tmp_path / "ends")}
    project = Project("tests.fixtures.sockets_project", tmp_path, environment, workers=1)
    project.workers[0].command += ["--consumer-timeout", "1", *options]
    return project


def test_a_socket_is_closed_a_request_is_answered_and_both_processes_are_replaced(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    project = sockets(new_database(), tmp_path, "--processes", "2", "--threads", "2")
    with project, connect(f"ws://127.0.0.1:{project.port}/") as other:
        with connect(f"ws://127.0.0.1:{project.port}/work/") as client:
            client.send("600")
            assert closed_with(client) == 1011
        assert status_of(f"{project.url}/hang/") == 500
        other.send("still here")
        assert other.recv(SECONDS) == "still here"
        project.wait_for_page()
        # The last two are of stacks.
        project.wait_to_say("for another to take its place: worker-", "in work", "in hang")
        project.workers[0].stop()


def test_a_worker_of_its_own_ends_for_its_manager_to_start_it_again(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    project = sockets(new_database(), tmp_path)
    with project:
        assert status_of(f"{project.url}/hang/") == 500
        process = project.workers[0].process
        assert process is not None
        assert process.wait(SECONDS) == 75


def test_a_process_whose_interpreter_is_held_is_replaced(new_database: Callable[[], str], tmp_path: Path) -> None:
    project = sockets(new_database(), tmp_path, "--processes", "2", "--threads", "1")
    project.web.command += ["--http-timeout", "2"]
    with project:
        assert status_of(f"{project.url}/stuck/") == 504
        project.wait_to_say("ended with exit code 1", "in stuck\n")
        project.workers[0].stop()


def test_a_handler_of_an_application_is_ended_alone(new_database: Callable[[], str], tmp_path: Path) -> None:
    environment = {"REDIS_URL": new_database()}
    project = Project("tests.fixtures.channels4_project", tmp_path, environment, workers=1)
    project.web.command[1] = "tests.fixtures.channels4_project.asgi:application"
    project.workers[0].command += ["--consumer-timeout", "1"]
    url = f"ws://127.0.0.1:{project.port}/ws/chat/room/"
    origin = "http://localhost"
    with project, connect(url, origin=origin) as other, connect(url, origin=origin) as client:  # type: ignore[arg-type]
        client.send('{"do": "wait", "for": "/nowhere"}')
        assert closed_with(client) == 1011
        other.send('{"text": "still here"}')
        wait_until(lambda: "still here" in str(other.recv(SECONDS)), "the other one's answer")
        project.wait_to_say("in receive_json")
        project.workers[0].stop()
