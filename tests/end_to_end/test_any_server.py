"""One application for Channels 4 behind ``daphne`` and a worker, and in the processes of uvicorn and of Hypercorn."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.conftest import free_port, wait_until
from tests.end_to_end.layers import environment_of
from tests.end_to_end.processes import Service, daphne

PACKAGE = "tests.fixtures.portable_project"
APPLICATION = f"{PACKAGE}.asgi:application"
SECONDS = 60

PYTHON = sys.executable
SERVERS = {
    "daphne": lambda port: [daphne(), APPLICATION, "-p", str(port)],
    "uvicorn": lambda port: [PYTHON, "-m", "uvicorn", APPLICATION, "--port", str(port), "--ws", "websockets-sansio"],
    # By default it cuts connections that have not asked for anything in five seconds.
    "hypercorn": lambda port: [
        PYTHON, "-m", "hypercorn", APPLICATION, "--bind", f"127.0.0.1:{port}", "--keep-alive", "120",
    ],
}  # fmt: skip


def answer(port: int) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=SECONDS) as response:
        return json.loads(response.read())


def answers(port: int) -> bool:
    try:
        return bool(answer(port))
    except OSError:
        return False


@pytest.fixture(scope="module", params=SERVERS)
def ports(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """The ports of two processes that serve the application."""
    directory = tmp_path_factory.mktemp(request.param)
    environment = environment_of("redis", request, directory) | {"DJANGO_SETTINGS_MODULE": f"{PACKAGE}.settings"}
    found = [free_port(), free_port()]
    services = [
        Service(f"{request.param}-{port}", SERVERS[request.param](port), environment, directory) for port in found
    ]
    if request.param == "daphne":
        services.append(Service("worker", [PYTHON, "manage.py", "runworker"], environment, directory))
    with ExitStack() as stack:
        for service in services:
            stack.enter_context(service)
        for port in found:
            wait_until(
                lambda port=port: answers(port),
                "".join(["an answer", *(service.text() for service in services)]),
                within=SECONDS,
            )
        yield found
        print(*(service.text() for service in services))


def open_room(port: int) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port}/room/")


def test_what_one_process_says_to_a_group_is_heard_in_the_other(ports: list[int]) -> None:
    first, second = ports
    with open_room(first) as here, open_room(second) as there:
        for socket, text in ((here, "hello"), (there, "and you?")):
            socket.send(json.dumps(text))
            said = {"text": text, "count": 1, "started": True}
            assert json.loads(here.recv(SECONDS)) == json.loads(there.recv(SECONDS)) == said


def test_the_application_has_started_in_the_process_that_runs_it(ports: list[int]) -> None:
    assert [answer(port) for port in ports] == [{"started": True}] * 2


def test_a_handshake_is_accepted_with_headers_and_denied_with_a_response(ports: list[int]) -> None:
    with open_room(ports[0]) as socket:
        assert socket.response is not None
        assert socket.response.headers["set-cookie"] == "seen=1"
    with pytest.raises(InvalidStatus) as denied:
        connect(f"ws://127.0.0.1:{ports[0]}/denied/")
    response = denied.value.response
    assert (response.status_code, response.headers["content-type"], response.body) == (
        401,
        "text/plain",
        b"who are you?",
    )
