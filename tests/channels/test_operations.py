"""Commands that ask and steer processes, with two real web servers, a worker, and many sockets."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings
from websockets.sync.client import ClientConnection, connect

from tests.channels.operations.layers import away
from tests.conftest import free_port, wait_until
from tests.end_to_end.processes import Service, daphne
from tests.fixtures.freezing import frozen

PACKAGE = "tests.fixtures.sockets_project"
SOCKETS = 26
"""At each of the two web servers."""


class System(NamedTuple):
    webs: list[Service]
    worker: Service
    ports: list[int]
    layers: dict[str, Any]
    sockets: list[ClientConnection]

    def name_of(self, service: Service) -> str:
        """The name under which a process reports."""
        found = json.loads(run(self.layers, "status", "--json").out)["processes"]
        return next(str(one["name"]) for one in found if one["pid"] == service.running.pid)


@pytest.fixture(scope="module")
def system(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("system")
    url = new_database()
    environment = {
        "DJANGO_SETTINGS_MODULE": f"{PACKAGE}.settings",
        "REDIS_URL": url,
        "DATABASE_PATH": str(directory / "database.sqlite3"),
        "ENDS": str(directory / "ends"),
    }
    manage = [sys.executable, "manage.py"]
    ports = [free_port(), free_port()]
    serve = [daphne(), f"{PACKAGE}.asgi:channel_layer", "-p"]
    webs = [
        Service("web-1", [*serve, str(ports[0])], environment, directory),
        Service("web-2", [*serve, str(ports[1]), "--trace-events"], environment, directory),
    ]
    worker = Service("worker", [*manage, "runworker"], environment, directory)
    entry = {"BACKEND": "channel_layer.redis.RedisChannelLayer", "CONFIG": {"hosts": [url]}, "ROUTING": []}
    with ExitStack() as stack:
        for service in (*webs, worker):
            stack.enter_context(service)
        for web in webs:
            web.wait_to_say("Listening on", within=60)
        worker.wait_to_say("it listens on", within=60)
        sockets = [
            stack.enter_context(connect(f"ws://127.0.0.1:{port}{path}", open_timeout=60, ping_interval=None))
            for port in ports
            for path in ["/work/", *["/room/"] * (SOCKETS - 1)]
        ]
        yield System(webs, worker, ports, {"default": entry}, sockets)


class Result(NamedTuple):
    status: int
    out: str
    err: str


def run(layers: dict[str, Any], *arguments: str) -> Result:
    """Run a command in this process."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with override_settings(CHANNEL_LAYERS=layers):
        try:
            call_command("millrace", *arguments, no_color=True, skip_checks=True, stdout=out, stderr=err)
        except SystemExit as end:
            status = int(str(end.code))
    return Result(status, out.getvalue(), err.getvalue())


def output(layers: dict[str, Any], *arguments: str) -> str:
    """What a command prints that ends well."""
    result = run(layers, *arguments)
    assert (result.status, result.err) == (0, "")
    return result.out


def machine(system: System, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output(system.layers, *arguments, "--json"))
    return found


def test_connections_are_listed_for_people_and_for_machines(system: System) -> None:
    lines = output(system.layers, "connections", "--limit", "3").splitlines()
    assert lines[0].split() == ["connection", "kind", "path", "client", "age", "user", "groups", "worker"]
    assert len(lines) == 6
    assert lines[1].split()[1:3] in (["websocket", "/room/"], ["websocket", "/work/"])
    assert "everybody" in lines[1]
    assert lines[-1] == f"{2 * SOCKETS} connections, 3 shown; --limit N shows N"
    found = machine(system, "connections")
    assert (found["count"], len(found["connections"]), found["problems"]) == (2 * SOCKETS, 2 * SOCKETS, [])
    assert {row["name"].partition("!")[0] for row in found["connections"]} == {system.name_of(w) for w in system.webs}
    assert machine(system, "connections", "--path", "/work/")["count"] == 2
    assert machine(system, "connections", "--group", "everybody", "--limit", "0") == {
        "count": 2 * SOCKETS,
        "connections": [],
        "problems": [],
    }
    assert output(system.layers, "connections", "--user", "nobody") == "0 connections\n"


def test_one_connection_is_shown_with_its_turn_and_its_last_events(system: System) -> None:
    rows = {row["client"]: row["name"] for row in machine(system, "connections", "--path", "/work/")["connections"]}
    untraced, traced = (rows["{}:{}".format(*system.sockets[number].local_address)] for number in (0, SOCKETS))
    assert machine(system, "connection", traced)["connection"]["events"][0][1] == "opened"
    assert machine(system, "connection", untraced)["connection"]["events"] is None
    assert [event[1] for event in machine(system, "connection", untraced)["connection"]["events"]] == []
    for socket in (system.sockets[0], system.sockets[SOCKETS]):
        socket.send("+2.5")
    row = wait_until(
        lambda: found if (found := machine(system, "connection", traced)["connection"])["worker"] else None
    )
    assert row is not None
    assert row["worker"] == system.name_of(system.worker)
    assert row["consumer"] == row["turn"]["consumer"] == f"{PACKAGE}.consumers.work"
    text = output(system.layers, "connection", traced)
    assert f", in {PACKAGE}.consumers.work" in text
    assert "frame from client, 4 bytes" in text
    assert "+2.5" not in text.partition("events")[2], "content is never kept"
    idle = lambda: machine(system, "connection", untraced)["connection"]["turn"] is None  # noqa: E731
    wait_until(idle, "the end of the turn")
    events = [event[1] for event in machine(system, "connection", untraced)["connection"]["events"]]
    assert events == ["frame from client", "turn over"]


def test_a_process_that_stands_still_is_named_and_the_others_answer(system: System) -> None:
    name = system.name_of(system.webs[0])
    problem = f"{name} did not answer within 2 seconds"
    with frozen(system.webs[0].running.pid):
        began = time.monotonic()
        status, out, _ = run(system.layers, "connections", "--json")
        assert 2 <= time.monotonic() - began < 20
        found = json.loads(out)
        assert (status, found["count"], found["problems"]) == (1, SOCKETS, [problem])
        status, out, err = run(system.layers, "close", "--path", "/work/", "--yes")
        assert (status, out, err) == (1, "1 WebSocket closed\n", f"{problem}\n")
    system.webs[0].wait_to_say("came too late and is left alone")
    assert machine(system, "connections", "--path", "/work/")["count"] == 1
    wait_until(lambda: system.sockets[SOCKETS].close_code == 1000, "the close")


def test_whoever_closes_is_asked_first(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 2 * SOCKETS - 2
    with pytest.raises(CommandError, match=rf"Close {count} WebSockets\? There is no terminal to ask at; .* --yes"):
        output(system.layers, "close", "--path", "/room/")
    monkeypatch.setattr("sys.stdin", Terminal("n\ny\n"))
    status, out, err = run(system.layers, "close", "--path", "/room/")
    assert (status, out, err) == (0, "0 WebSockets closed\n", f"Close {count} WebSockets? [y/N] ")
    name = machine(system, "connections", "--path", "/room/")["connections"][0]["name"]
    status, out, err = run(system.layers, "close", name, "--code", "4001", "--reason", "bye")
    assert (status, out, err) == (0, "1 WebSocket closed\n", "Close this WebSocket? [y/N] ")
    wait_until(lambda: any(socket.close_code == 4001 for socket in system.sockets), "the close")
    with pytest.raises(CommandError, match=r"has no connection .*; it is closed"):
        output(system.layers, "connection", name)


class Terminal(io.StringIO):
    """Somebody who types lines."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "say which"),
        (["daphne.x!y", "--group", "room"], "say which"),
        (["--path", "/", "--code", "1006"], "--code must be 1000 to 4999"),
        (["--path", "/", "--reason", "x" * 124], "at most 123 bytes"),
        (["--group", "no such name"], "group"),
    ],
)
def test_an_order_that_cannot_be_carried_out_is_a_sentence(system: System, arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        output(system.layers, "close", *arguments, "--yes")


@pytest.mark.parametrize("command", ["connections", "connection daphne.x!y", "close --path / --yes", "drain x --yes"])
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_a_layer_that_is_away_is_one_sentence(command: str, form: list[str]) -> None:
    began = time.monotonic()
    with pytest.raises(CommandError) as caught:
        run(away(), *command.split(), *form)
    assert caught.value.returncode == 3
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 20


def test_processes_are_drained_by_their_names(system: System) -> None:
    with pytest.raises(
        CommandError, match=r"no process daphne\.x reports; there are: daphne\..*, daphne\..*, worker\."
    ):
        output(system.layers, "drain", "daphne.x", "--yes")
    with pytest.raises(CommandError, match=r"Drain web daphne\..* on .* \(pid \d+\)\? There is no terminal"):
        output(system.layers, "drain", system.name_of(system.webs[1]))
    worker = system.name_of(system.worker)
    assert output(system.layers, "drain", worker, "--yes") == f"{worker} drains\n"
    system.worker.wait_for_end()
    web = system.name_of(system.webs[1])
    assert machine(system, "drain", web, "--yes") == {"process": web, "draining": True, "problems": []}
    system.webs[1].wait_for_end()
    closed = [socket for socket in system.sockets[SOCKETS + 1 :] if socket.close_code != 4001]
    wait_until(lambda: {socket.close_code for socket in closed} == {1012}, "the end of the sockets")
    assert machine(system, "connections", "--limit", "0")["count"] in (SOCKETS, SOCKETS - 1)
