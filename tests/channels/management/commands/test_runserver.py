"""``manage.py runserver`` as a process of its own: interface server and workers over the memory layer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.conftest import free_port, wait_until
from tests.end_to_end.processes import ROOT, Service

SECONDS = 60.0

PLAIN = """
from tests.channels.settings import *

CHANNEL_LAYERS = {}
"""

RELOADING = """
from tests.channels.settings import *

ROOT_URLCONF = "reloading_urls"
"""

URLS = """
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse({answer!r}))]
"""


# A shell starts background programs with SIGINT ignored, and so may whatever runs these tests.
MANAGE = """
import signal
import sys

from django.core.management import execute_from_command_line

signal.signal(signal.SIGINT, signal.default_int_handler)
execute_from_command_line(sys.argv)
"""


class Running(Service):
    """A development server."""

    def __init__(self, directory: Path, *arguments: str, settings: str = "tests.channels.settings") -> None:
        self.port = free_port()
        manage = directory / "manage.py"
        manage.write_text(MANAGE)
        command = [sys.executable, str(manage), "runserver", str(self.port), *arguments]
        super().__init__(f"runserver-{self.port}", command, environment(directory, settings), directory)

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=SECONDS) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def listens(self) -> bool:
        assert self.running
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def interrupt(self) -> int:
        """Press Ctrl-C: every process of the terminal gets it."""
        os.killpg(self.running.pid, signal.SIGINT)
        assert self.process is not None
        return self.process.wait(SECONDS)


def environment(directory: Path, settings: str) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": settings,
        "TEST_DATABASE": str(directory / "database.sqlite3"),
        "TEST_DEBUG": "1",
        # On Ctrl-C Django's autoreloader leaves its child to end by itself, which Python remarks on.
        "PYTHONWARNINGS": "error,ignore::ResourceWarning",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(directory)]),
    }


@contextmanager
def serving(directory: Path, *arguments: str, settings: str = "tests.channels.settings") -> Iterator[Running]:
    with Running(directory, *arguments, settings=settings) as server:
        wait_until(server.listens, "runserver listening")
        yield server


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the database is, with its tables, and the log."""
    directory = tmp_path_factory.mktemp("runserver")
    settings = environment(directory, "tests.channels.settings")
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "-v0"], env=os.environ | settings, check=True, timeout=300
    )
    return directory


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[Running]:
    with serving(directory, "--noreload") as server:
        yield server


def test_views_static_files_and_streams_are_served(server: Running) -> None:
    assert server.get("/hello/") == (200, b"Hello, World")
    assert server.get("/static/hello.txt") == (200, b"Hello from a file\n")
    assert server.get("/file/") == (200, b"abcdefgh" * 200_000)
    assert server.get("/missing/")[0] == 404


def test_a_websocket_goes_through_consumers_and_groups(server: Running) -> None:
    url = f"ws://127.0.0.1:{server.port}/room/lobby/"
    with connect(url) as first, connect(url) as second:
        first.send("hello")
        assert first.recv(SECONDS) == second.recv(SECONDS) == "1 nobody: hello"
        second.send("again")
        assert first.recv(SECONDS) == "1 nobody: again"
        second.close()
        assert first.recv(SECONDS) == "somebody left"


def test_a_subprotocol_of_the_settings_is_agreed_on(server: Running) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/room/lobby/", subprotocols=["other", "chat.v2"]) as socket:  # type: ignore[list-item]
        assert socket.subprotocol == "chat.v2"


def test_it_says_where_it_is_and_what_it_does(server: Running) -> None:
    server.get("/hello/")
    server.wait_to_say(
        f"Starting development server at http://127.0.0.1:{server.port}/",
        "Channel layer 'default': MemoryChannelLayer, 4 worker threads",
        '"GET /hello/ HTTP/1.1" 200',
    )


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--noreload"], []])
def test_ctrl_c_ends_it_cleanly(directory: Path, arguments: list[str]) -> None:
    with serving(directory, *arguments) as server, connect(f"ws://127.0.0.1:{server.port}/room/x/") as client:
        assert server.interrupt() == 0
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(SECONDS)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012
        assert "Traceback" not in server.text()


@pytest.mark.slow
def test_a_change_of_the_code_is_picked_up(directory: Path) -> None:
    (directory / "reloading_settings.py").write_text(RELOADING)
    urls = directory / "reloading_urls.py"
    urls.write_text(URLS.format(answer="before"))
    with serving(directory, settings="reloading_settings") as server:
        assert server.get("/") == (200, b"before")
        urls.write_text(URLS.format(answer="after"))

        def answer() -> bytes:
            try:
                found: bytes = server.get("/")[1]
            except OSError:
                return b""
            if found == b"before":
                # Django takes the times of all files first; a change ahead of that is none to it.
                urls.touch()
            return found

        wait_until(lambda: answer() == b"after", "the new answer", within=60)


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "settings"), [(["--noasgi"], "tests.channels.settings"), ([], "plain_settings")])
def test_without_layers_or_with_noasgi_it_is_djangos_own(directory: Path, arguments: list[str], settings: str) -> None:
    (directory / "plain_settings.py").write_text(PLAIN)
    with serving(directory, "--noreload", *arguments, settings=settings) as server:
        assert server.get("/hello/") == (200, b"Hello, World")
        assert server.get("/static/hello.txt") == (200, b"Hello from a file\n")
        assert "Channel layer" not in server.text()


def failing(directory: Path, *arguments: str, settings: str = "tests.channels.settings") -> str:
    """What it says when it cannot start."""
    found = subprocess.run(
        [sys.executable, "-m", "django", "runserver", "--noreload", *arguments],
        env=os.environ | environment(directory, settings),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    return found.stderr


APPLICATION = """
from tests.channels.settings import *

CHANNEL_LAYERS = {}
ASGI_APPLICATION = "layerless_application.application"
"""

LAYERLESS = """
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path


class Counter(AsyncWebsocketConsumer):
    count = 0

    async def receive(self, text_data=None, bytes_data=None):
        self.count += 1
        await self.send(f"{self.count} {text_data} {self.channel_layer}")


routes = URLRouter([path("count/", Counter.as_asgi())])
application = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": routes})
"""


def test_an_application_of_channels_4_needs_no_layer(directory: Path) -> None:
    (directory / "layerless_settings.py").write_text(APPLICATION)
    (directory / "layerless_application.py").write_text(LAYERLESS)
    with serving(directory, "--noreload", settings="layerless_settings") as server:
        with connect(f"ws://127.0.0.1:{server.port}/count/") as client:
            for number in (1, 2):
                client.send("hello")
                assert client.recv(SECONDS) == f"{number} hello None"
        assert server.get("/hello/") == (200, b"Hello, World")


@pytest.mark.slow
def test_without_workers_the_memory_layer_would_be_deaf(directory: Path) -> None:
    assert "with --noworker nobody would answer" in failing(directory, str(free_port()), "--noworker")


def test_a_port_in_use_is_named(directory: Path, server: Running) -> None:
    assert f"Error: cannot listen on 127.0.0.1:{server.port}: it is in use" in failing(directory, str(server.port))


@pytest.mark.slow
def test_a_timeout_that_cannot_be_is_named(directory: Path) -> None:
    assert "http_timeout must be above 0, not -1" in failing(directory, str(free_port()), "--http_timeout=-1")


UNUSABLE = """
from tests.channels.settings import *
from channel_layer.exceptions import LayerConfigurationError
from channel_layer.memory import MemoryChannelLayer


class Unusable(MemoryChannelLayer):
    def check(self):
        raise LayerConfigurationError("the server is too old")


CHANNEL_LAYERS = {"default": {"BACKEND": "unusable_settings.Unusable", "ROUTING": []}}
"""


def test_a_layer_that_is_unusable_at_the_start_ends_it_with_a_sentence(directory: Path) -> None:
    (directory / "unusable_settings.py").write_text(UNUSABLE)
    text = failing(directory, str(free_port()), settings="unusable_settings")
    assert "CommandError: channel layer 'default': the server is too old" in text


@pytest.mark.slow
def test_an_application_that_refuses_to_start_is_one_sentence(directory: Path) -> None:
    package = "tests.fixtures.portable_project"
    with Running(directory, "--noreload", settings=f"{package}.settings") as server:
        server.kill()
        server.environment["REFUSE"] = "no database"
        server.start()
        assert server.process is not None
        assert server.process.wait(60) == 1
        assert server.text().splitlines()[-1].endswith("(lifespan.startup.failed): no database")
