"""The lifespan of an application whose workers are real processes and are replaced."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.conftest import wait_until
from tests.end_to_end.processes import ROOT, Project, Service

pytestmark = pytest.mark.slow

PACKAGE = "tests.fixtures.portable_project"
SECONDS = 60


@pytest.fixture(scope="module")
def project(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(PACKAGE, tmp_path_factory.mktemp("lifespan"), {"REDIS_URL": new_database()}, workers=1)
    project.web.command[1] = f"{PACKAGE}.asgi:application"
    with project:
        yield project


def say(socket: ClientConnection, text: str) -> Any:
    socket.send(json.dumps(text))
    return json.loads(socket.recv(SECONDS))


def answer(project: Project) -> Any:
    with urllib.request.urlopen(project.url, timeout=SECONDS) as response:
        return json.loads(response.read())


def told(worker: Service) -> list[str]:
    return [line.partition(" ")[0] for line in worker.text().splitlines() if line.startswith("lifespan.")]


def test_each_worker_process_starts_the_application_and_ends_it(project: Project) -> None:
    [old] = project.workers
    assert answer(project) == {"started": True}
    new = Service("worker-2", old.command, project.environment, old.log.parent)
    url = f"ws://127.0.0.1:{project.port}/room/"
    with connect(url) as socket:
        assert say(socket, "hello") == {"text": "hello", "count": 1, "started": True}
        with new:
            wait_until(lambda: told(new), f"the start of the new worker\n{new.text()}")
            old.stop()
            assert told(old) == ["lifespan.startup", "lifespan.shutdown"]
            assert say(socket, "again") == {"text": "again", "count": 2, "started": True}
            assert answer(project) == {"started": True}
            new.stop()
        assert told(new) == ["lifespan.startup", "lifespan.shutdown"]
    assert "lifespan" not in project.web.text()


def test_a_worker_whose_application_refuses_to_start_ends_with_a_sentence(project: Project, tmp_path: Path) -> None:
    command = project.workers[0].command
    environment = Service("refusing", command, {**project.environment, "REFUSE": "no database"}, tmp_path).environment
    found = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert found.returncode == 1
    sentence = "CommandError: the application has refused to start (lifespan.startup.failed): no database"
    assert found.stderr.splitlines()[-1] == sentence
    assert "Traceback" not in found.stderr
