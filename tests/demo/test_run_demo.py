"""``scripts/run_demo.py``, which is what ``make demo`` runs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import termios
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright
from websockets.sync.client import ClientConnection, connect

from tests.conftest import close_answer, free_port, wait_until
from tests.end_to_end.conftest import BROWSER_OPTIONS, BROWSERS
from tests.test_house import ROOT


class Demo:
    """The demo as ``make demo`` runs it, on a port and with files of its own."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.port = free_port()
        self.database = directory / "database.sqlite3"
        self.log = directory / "log"
        own = {"DATABASE_PATH": str(self.database), "CHANNEL_FILE": str(directory / "layer.sqlite3"), "REDIS_URL": ""}
        self.terminal, end = os.openpty()
        try:
            with self.log.open("wb") as output:
                self.process = subprocess.Popen(
                    [sys.executable, "scripts/run_demo.py", str(self.port)],
                    cwd=ROOT,
                    env=os.environ | own | environment,
                    stdin=end,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                )
        finally:
            os.close(end)

    def serves(self) -> bool:
        """Whether the start page is served."""
        try:
            with urllib.request.urlopen(f"http://localhost:{self.port}/", timeout=60) as page:
                return bool(page.status == 200)
        except OSError as error:
            close_answer(error)
            return False

    def press(self, key: str) -> None:
        """Press a key in its terminal."""
        os.write(self.terminal, key.encode())

    def wait_logged(self, text: str, times: int = 1) -> None:
        """Wait until a text stands in the log, as often as that."""
        wait_until(lambda: self.log.read_text().count(text) >= times, f"{text!r} in the log", within=60)

    def open_socket(self) -> ClientConnection:
        """The socket that the start page opens."""
        address = f"localhost:{self.port}"
        return connect(f"ws://{address}/processes/", origin=f"http://{address}")  # type: ignore[arg-type]

    def wait_ready(self) -> str:
        """Wait for the lines that say where it is; the log so far."""
        wait_until(lambda: "Ctrl-C stops it" in self.log.read_text(), "the address", within=60)
        return self.log.read_text()

    def left(self) -> list[str]:
        """Command lines of the processes that belong to it."""
        mark = f"DATABASE_PATH={self.database}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found

    def kill(self) -> None:
        """Kill the process group, as somebody does who has no more patience; the rest ends by itself."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.terminal)
        wait_until(lambda: not self.left(), "the end of all it has started", within=60)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path)
    yield demo
    demo.kill()


def test_it_says_where_it_is_and_how_to_sign_in_and_ends_when_it_is_told_to(demo: Demo) -> None:
    said = demo.wait_ready()
    assert f"http://localhost:{demo.port}/" in said
    assert "ada, password: " in said
    assert "bob, password: " in said
    with urllib.request.urlopen(f"http://localhost:{demo.port}/prices/bitcoin/", timeout=60) as page:
        assert page.status == 200
    with closing(sqlite3.connect(demo.database, timeout=60)) as database:
        wait_until(lambda: database.execute("SELECT 1 FROM prices_price").fetchone(), "prices")
    assert any("daphne" in command for command in demo.left())
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(60) == 0, demo.log.read_text()
    assert demo.left() == []


def test_a_port_in_use_is_said_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "scripts/run_demo.py", str(port)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1
    assert result.stderr.startswith(f"Port {port} is in use")


def ask(client: ClientConnection, number: int) -> None:
    client.send(json.dumps({"question": number}))


def answer(client: ClientConnection) -> dict[str, int]:
    found: dict[str, int] = json.loads(client.recv(60))
    return found


@pytest.mark.slow
def test_each_process_is_restarted_alone_by_a_key(demo: Demo) -> None:
    demo.wait_ready()
    with demo.open_socket() as client:
        ask(client, 1)
        first = answer(client)
        demo.press("s")
        demo.wait_logged("worker is stopped; the others go on")
        ask(client, 2)
        demo.press("x")  # means nothing
        demo.press("S")
        second = answer(client)
        assert (first["answer"], second["answer"]) == (1, 2)
        assert first["worker"] != second["worker"]
        demo.press("2")
        demo.wait_logged("worker started (process", 3)
        ask(client, 3)
        assert answer(client)["worker"] not in (first["worker"], second["worker"])
        os.kill(answered_by(client, 4), signal.SIGKILL)
        demo.wait_logged("worker ended by itself (status -9); the others go on")
        demo.press("2")
        answered_by(client, 5)
        demo.press("1")
        demo.wait_logged("web started (process", 2)
        client.close()
    wait_until(lambda: demo.serves(), "the web server again", within=60)
    assert demo.log.read_text().count("prices started (process") == 1
    demo.press("\x03")
    assert demo.process.wait(60) == 0, demo.log.read_text()
    assert demo.left() == []


@pytest.mark.slow
def test_what_ends_before_the_demo_was_ready_ends_it(tmp_path: Path) -> None:
    demo = Demo(tmp_path, CHANNEL_FILE=str(tmp_path))  # a directory, which is not a file for the layer
    try:
        assert demo.process.wait(60) == 1
        said = demo.log.read_text()
        assert "ended by itself (status 1) before the demo was ready" in said
        assert "The demo ended by itself; the lines above say why." in said
        assert demo.left() == []
    finally:
        demo.kill()


def answered_by(client: ClientConnection, number: int) -> int:
    """The worker that answers a question."""
    ask(client, number)
    found = answer(client)
    assert found["answer"] == number
    return found["worker"]


@pytest.mark.browser
@pytest.mark.slow
def test_the_start_page_restarts_a_process_and_shows_what_becomes_of_its_socket(demo: Demo) -> None:
    demo.wait_ready()
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=BROWSER_OPTIONS)
        page = browser.new_page()
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        page.goto(f"http://localhost:{demo.port}/")
        worker, events = page.locator("#worker-fact"), page.locator("#events")
        expect(worker).to_contain_text("answers")
        before = worker.inner_text()
        page.get_by_role("button", name="Restart worker").click()
        expect(events).to_contain_text("The WebSocket stayed open.")
        expect(worker).to_contain_text("answers")
        assert worker.inner_text() != before
        expect(page.locator("#socket-fact")).to_contain_text("never lost")
        demo.press("s")
        expect(worker).to_contain_text("messages wait")
        demo.press("s")
        expect(events).to_contain_text("messages had waited")
        page.get_by_role("button", name="Restart web").click()
        expect(events).to_contain_text("The WebSocket is open again.")
        expect(page.locator("#socket-fact")).to_contain_text("lost once")
        browser.close()
