"""A deploy of code in which an open connection has no place any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.conftest import wait_until
from tests.end_to_end.layers import environment_of
from tests.end_to_end.processes import Project, Service

pytestmark = pytest.mark.slow

PACKAGE = "tests.fixtures.portable_project"
SECONDS = 60


def test_a_client_whose_path_is_gone_connects_again_and_is_told(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    project = Project(PACKAGE, tmp_path, environment_of("redis", request, tmp_path), workers=1)
    project.web.command[1] = f"{PACKAGE}.asgi:application"
    [old] = project.workers
    new = Service("worker-2", old.command, {**project.environment, "MOVED": "yes"}, tmp_path)
    address = f"ws://127.0.0.1:{project.port}/room/"
    with project, connect(address) as socket:
        socket.send(json.dumps("hello"))
        assert json.loads(socket.recv(SECONDS))["text"] == "hello"
        with new:
            wait_until(lambda: "lifespan.startup" in new.text(), "the start of the new worker")
            old.stop()
            socket.send(json.dumps("again"))
            with pytest.raises(ConnectionClosed):
                socket.recv(SECONDS)
            assert socket.close_code == 1012
            sentence = 'closing the application behind /room/: it cannot be made again: ValueError("No route found'
            wait_until(lambda: sentence in new.text(), f"a sentence in the log\n{new.text()}")
            with pytest.raises(InvalidStatus) as refused:
                connect(address)
            assert refused.value.response.status_code == 500
