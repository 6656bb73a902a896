"""The project of ``docs/channels4-tutorial.md``, built as it says: its tests, a deploy, and its page in a browser."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.channels.documents import shown_files
from tests.conftest import close_answer, free_port, wait_until
from tests.end_to_end.processes import ROOT, Service, daphne

pytestmark = pytest.mark.slow

FILES = shown_files("channels4-tutorial.md")
_, SYNC, _, STATE = FILES["chat/consumers.py"]
MANAGE = [sys.executable, "manage.py"]
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "compat")])}
SECONDS = 60.0


class Tutorial:
    """The project in a directory, its layer's file with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.run(sys.executable, "-m", "django", "startproject", "project", ".")
        self.run(*MANAGE, "startapp", "chat")
        for path, versions in FILES.items():
            file = directory / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(file.read_text() + versions[0] if path.endswith("settings.py") else versions[-1])
        with (directory / "project" / "settings.py").open("a") as settings:
            settings.write(f'CHANNEL_LAYERS["default"]["CONFIG"] = {{"path": {str(directory / "layer.sqlite3")!r}}}\n')
        self.run(*MANAGE, "migrate", "-v0")

    def run(self, *command: str) -> str:
        """Run a command to its end, which has to be a success; gives what it printed."""
        environment = os.environ | ENVIRONMENT | {"PYTHONWARNINGS": "error"}
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        done = subprocess.run(
            command, cwd=self.directory, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def service(self, name: str, *command: str) -> Service:
        environment = ENVIRONMENT | {"DJANGO_SETTINGS_MODULE": "project.settings"}
        return Service(name, list(command), environment, self.directory, self.directory)

    def consumers(self, code: str) -> None:
        """Put a version of the consumer into its place."""
        (self.directory / "chat" / "consumers.py").write_text(code)

    def wait_for_room(self, *services: Service) -> None:
        """Wait until the page of a room comes from these."""

        def answers() -> bool:
            assert all(service.running for service in services)
            try:
                with urllib.request.urlopen(f"http://localhost:{self.port}/rooms/kitchen/", timeout=60) as page:
                    return b"<title>kitchen</title>" in page.read()
            except OSError as error:
                close_answer(error)
                return False

        wait_until(answers, "the page of a room")

    def enter(self) -> ClientConnection:
        host = f"localhost:{self.port}"
        return connect(f"ws://{host}/ws/rooms/kitchen/", origin=Origin(f"http://{host}"))


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Tutorial:
    return Tutorial(tmp_path_factory.mktemp("tutorial"))


def test_its_own_tests_and_checks_pass(tutorial: Tutorial) -> None:
    tutorial.consumers(STATE)
    assert "Ran 3 tests" in tutorial.run(*MANAGE, "test")
    assert "no issues" in tutorial.run(*MANAGE, "check")


def test_an_open_socket_keeps_its_name_while_the_worker_is_replaced_by_one_with_other_code(tutorial: Tutorial) -> None:
    tutorial.consumers(STATE)
    web = tutorial.service("web", daphne(), "project.asgi:application", "-p", str(tutorial.port))
    worker = tutorial.service("worker", *MANAGE, "runworker")
    with web, worker:
        tutorial.wait_for_room(web, worker)
        with tutorial.enter() as ada, tutorial.enter() as bob:
            ada.send("/name Ada")
            ada.send("hello")
            assert [socket.recv(SECONDS) for socket in (ada, bob)] == ["Ada: hello"] * 2
            worker.stop()
            ada.send("still there?")
            tutorial.consumers(STATE.replace("{self.name}: {text_data}", "{self.name} asks: {text_data}"))
            worker.start()
            assert [socket.recv(SECONDS) for socket in (ada, bob)] == ["Ada asks: still there?"] * 2


@pytest.mark.browser
def test_two_pages_in_a_browser_hear_each_other(tutorial: Tutorial, browser: Browser) -> None:
    tutorial.consumers(SYNC)
    command = [*MANAGE, "runserver", "--noreload", f"localhost:{tutorial.port}"]
    with tutorial.service("runserver", *command) as server, browser.new_context() as context:
        tutorial.wait_for_room(server)
        ada, bob = open_room(tutorial, context.new_page()), open_room(tutorial, context.new_page())
        ada.get_by_label("Message").fill("hello")
        ada.keyboard.press("Enter")
        for page in (ada, bob):
            expect(page.locator("#heard")).to_have_text("(open) hello", timeout=SECONDS * 1000)


def open_room(tutorial: Tutorial, page: Page) -> Page:
    """Open the page of a room and wait for its socket."""
    page.goto(f"http://localhost:{tutorial.port}/rooms/kitchen/")
    expect(page.locator("#heard")).to_have_text("(open)", timeout=SECONDS * 1000)
    return page
