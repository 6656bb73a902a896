"""`daphne`: the modules that projects for Channels 2 to 4 name."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

import daphne
from channels.version import __version__
from daphne.server import Server
from daphne.testing import DaphneProcess
from interface_server.endpoints import EndpointError
from tests.test_house import ROOT


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "compat")])
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment | {"PYTHONPATH": path}, cwd=cwd, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that sends back a frame, or the path of a request with the name of its server's process."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        frame = await receive()
        await send({"type": "websocket.send", "text": frame["text"]})
        await send({"type": "websocket.close", "code": 4000})
    else:
        body = f"{scope['root_path']}{scope['path']} {os.getpid()}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


def get_echo() -> Any:
    return echo


def get_nothing() -> Any:
    raise ValueError("there is no application")


def check_echo(port: int) -> str:
    """Have the application answer both protocols; returns the process's id."""
    with connect(f"ws://127.0.0.1:{port}/") as socket:
        socket.send("hello")
        assert socket.recv() == "hello"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/path", timeout=20) as response:
        path, _, process = response.read().decode().partition(" ")
        assert (path, response.headers["server"]) == ("/path", "daphne")
        return str(process)


def test_its_version_is_ours() -> None:
    assert daphne.__version__ == __version__


def test_a_server_runs_any_application_until_it_is_told_to_stop() -> None:
    ready = threading.Event()
    server = Server(echo, ["tcp:port=0:interface=127.0.0.1"], ready_callable=ready.set, http_timeout=5)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert ready.wait(30)
    [(host, port)] = server.listening_addresses
    assert (host, check_echo(port)) == ("127.0.0.1", str(os.getpid()))
    server.stop()
    thread.join(30)
    assert not thread.is_alive()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20)


def test_a_server_tells_the_application_that_it_begins_and_ends() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await echo({**scope, "root_path": scope["state"]["prefix"]}, receive, send)
            return
        scope["state"]["prefix"] = "/started"
        for _ in range(2):
            event = await receive()
            told.append(event["type"])
            await send({"type": f"{event['type']}.complete"})

    def ask() -> None:
        [(_, port)] = server.listening_addresses
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as response:
            told.append(response.read().decode().partition(" ")[0])
        server.stop()

    told: list[str] = []
    server = Server(application, ["tcp:port=0:interface=127.0.0.1"], signal_handlers=False)
    server.ready_callable = lambda: threading.Thread(target=ask).start()
    server.run()
    assert told == ["lifespan.startup", "/started/", "lifespan.shutdown"]


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "lifespan.startup.failed", "message": "no database"})


def get_refusing() -> Any:
    return refuse


def test_a_process_whose_application_refuses_to_start_tells_why() -> None:
    process = DaphneProcess("127.0.0.1", get_refusing)
    process.start()
    error, _ = process.errors.get(timeout=30)
    process.join()
    assert str(error).endswith("(lifespan.startup.failed): no database")
    assert not process.ready.is_set()


def test_a_server_has_to_listen_somewhere() -> None:
    with pytest.raises(ValueError, match="a server without endpoints listens nowhere"):
        Server(echo)
    with pytest.raises(EndpointError):
        Server(echo, ["nonsense"])


def test_without_uvicorn_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(RuntimeError, match="which is not installed; pip install uvicorn, or start the daphne command"):
        Server(echo, ["tcp:port=0"]).run()


def test_a_process_tells_its_port() -> None:
    process = DaphneProcess("127.0.0.1", get_echo)
    process.start()
    try:
        assert process.ready.wait(30)
        assert check_echo(process.port.value) == str(process.pid)
    finally:
        process.terminate()
        process.join()


def test_a_process_tells_why_it_did_not_start() -> None:
    process = DaphneProcess("127.0.0.1", get_nothing)
    process.start()
    error, trace = process.errors.get(timeout=30)
    process.join()
    assert str(error) == "there is no application"
    assert "get_nothing" in trace
    assert not process.ready.is_set()


def test_the_command_as_a_module() -> None:
    found = python("-m", "daphne", "--version")
    assert (found.returncode, found.stdout) == (0, f"daphne (django-millrace) {__version__}\n"), found.stderr


def test_the_command_as_a_class(tmp_path: Path) -> None:
    found = python("-c", "from daphne.cli import CommandLineInterface as C; C().run(['nowhere:layer'])", cwd=tmp_path)
    assert found.returncode == 1
    assert "there is no module 'nowhere' to import 'nowhere:layer' from" in found.stderr


PROJECT = """
import sys
from django.conf import settings
settings.configure(INSTALLED_APPS={apps!r}, CHANNEL_LAYERS={layers!r}, **{extra!r})
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""


def manage(*arguments: str, apps: list[str], layers: Any = None, **extra: Any) -> subprocess.CompletedProcess[str]:
    code = PROJECT.format(apps=apps, layers=layers or {}, extra={"SECRET_KEY": "x", **extra})
    return python("-c", code, *arguments)


@pytest.mark.parametrize("apps", [["daphne", "django.contrib.staticfiles"], ["django.contrib.staticfiles", "daphne"]])
def test_with_this_application_alone_the_commands_are_ours(apps: list[str]) -> None:
    assert "--noworker" in manage("runserver", "--help", apps=apps).stdout
    assert "--only-channels" in manage("runworker", "--help", apps=apps).stdout


def test_its_checks_are_those_of_channels() -> None:
    found = manage("check", apps=["daphne"], layers={"default": {"BACKEND": "no.such.Layer"}})
    assert "(channels.E001) CHANNEL_LAYERS['default']: BACKEND 'no.such.Layer' cannot be imported" in found.stderr


@pytest.mark.parametrize("layers", [{}, {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}])
def test_runserver_wants_an_application(layers: Any) -> None:
    command = ["runserver", "--noreload", "--skip-checks", "0"]
    found = manage(*command, apps=["daphne"], layers=layers, DEBUG=True, ALLOWED_HOSTS=["localhost"])
    assert found.returncode == 1
    assert found.stderr.startswith("CommandError: Cannot find ASGI_APPLICATION setting: set it to a dotted path")


def test_a_project_gets_its_layer_for_asgi_py_with_this_application_too() -> None:
    layers = {"default": {"BACKEND": "channel_layer.memory.MemoryChannelLayer", "ROUTING": []}}
    code = PROJECT.format(apps=["daphne"], layers=layers, extra={"SECRET_KEY": "x"}).partition("from django.core.m")[0]
    found = python("-c", f"{code}\nfrom channels.asgi import get_channel_layer; print(get_channel_layer())")
    assert "MemoryChannelLayer" in found.stdout, found.stderr
