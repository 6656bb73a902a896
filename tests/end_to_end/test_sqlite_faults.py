"""A web server and a worker over the sqlite layer whose file is locked by another process, or whose device is full."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from channel_layer.sqlite import SqliteChannelLayer
from channel_layer.sqlite.location import SIBLINGS
from interface_server.application import Application
from interface_server.endpoints import Endpoint
from interface_server.options import Options
from interface_server.server import build_server
from routing import Router, route
from tests.conftest import SmallDisk, wait_until
from workers import Worker

pytestmark = pytest.mark.slow

SOON = 2.5
"""Seconds until a refusal: within one, and what a busy machine takes. It took four and more, each time."""

LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


def answer(message: Any) -> None:
    message.reply_channel.send({"status": 200, "content": b"here"})


def accept(message: Any) -> None:
    message.reply_channel.send({"accept": True})


def echo(message: Any) -> None:
    message.reply_channel.send({"text": message["text"]})


ROUTES = [route("http.request", answer), route("websocket.connect", accept), route("websocket.receive", echo)]


class Site:
    """A server and a worker in threads of this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.layer = SqliteChannelLayer(path)
        self._server = build_server(
            Application(self.layer, Options(graceful_timeout=5)), endpoints=[Endpoint(host="127.0.0.1", port=0)]
        )
        sockets = self._server.bind()
        self.address = f"127.0.0.1:{sockets[0].getsockname()[1]}"
        self._worker = Worker(self.layer, Router(ROUTES), signal_handlers=False)
        self._threads = [
            threading.Thread(target=self._server.run, args=(sockets,)),
            threading.Thread(target=self._worker.run),
        ]
        for thread in self._threads:
            thread.start()

    def status(self) -> int:
        return httpx.get(f"http://{self.address}/", timeout=60).status_code

    def refusal_seconds(self) -> float:
        """Time until a request is refused, as it must be."""
        before = time.monotonic()
        assert self.status() == 503
        return time.monotonic() - before

    def stop(self) -> None:
        self._server.should_exit = True
        self._threads[0].join(60)
        self._worker.stop()
        self._threads[1].join(60)
        self.layer.close()
        assert not any(thread.is_alive() for thread in self._threads)


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    on_small_disk = "small_disk" in request.fixturenames
    directory = request.getfixturevalue("small_disk").path if on_small_disk else tmp_path
    site = Site(directory / "layer.sqlite3")
    yield site
    site.stop()


def test_while_the_file_is_locked_requests_are_refused_soon_and_sockets_wait(site: Site) -> None:
    assert site.status() == 200
    with connect(f"ws://{site.address}/") as client:
        locking = subprocess.Popen(
            [sys.executable, "-c", LOCK, str(site.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert locking.stdout is not None
            assert locking.stdout.readline() == "locked\n"
            client.send("held back")
            assert min(site.refusal_seconds() for _ in range(3)) < SOON
        finally:
            locking.communicate()
        assert client.recv(timeout=60) == "held back"
        wait_until(lambda: site.status() == 200, "an answer after the lock")
        client.send("and on")
        assert client.recv(timeout=60) == "and on"


def test_while_the_device_is_full_requests_are_refused_soon_and_nothing_is_lost(
    small_disk: SmallDisk, site: Site
) -> None:
    assert site.status() == 200
    with connect(f"ws://{site.address}/") as client:
        small_disk.fill()
        client.send("held back")
        assert min(site.refusal_seconds() for _ in range(3)) < SOON
        small_disk.clear()
        assert client.recv(timeout=60) == "held back"
        wait_until(lambda: site.status() == 200, "an answer after there is room")
        client.send("and on")
        assert client.recv(timeout=60) == "and on"


def damage(path: Path) -> None:
    path.write_bytes(b"these are not the bytes of a database" * 100)


def replace_by_a_link(path: Path) -> None:
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [(damage, "is damaged or no SQLite file. Stop"), (replace_by_a_link, "is a symbolic link, so the channel layer")],
)
def test_a_file_that_cannot_be_used_any_more_is_an_error_for_each_who_uses_it_and_drops_no_socket(
    site: Site, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None], sentence: str
) -> None:
    assert site.status() == 200
    with connect(f"ws://{site.address}/") as client:
        spoilt = site.path.with_name("spoilt")
        spoil(spoilt)
        for sibling in SIBLINGS:  # SQLite would read the log in place of the file
            site.path.with_name(site.path.name + sibling).unlink(missing_ok=True)
        spoilt.rename(site.path)
        said = [sentence, "trying again until it answers", "trying again until it is back"]
        wait_until(lambda: all(words in caplog.text for words in said), "the errors of web and worker")
        wait_until(lambda: site.status() == 503, "a refusal")
        client.send("held back")
        site.path.unlink()
        assert client.recv(timeout=60) == "held back"
        wait_until(lambda: site.status() == 200, "an answer from the new file")
    about = [record for record in caplog.records if sentence in record.getMessage()]
    assert {record.levelname for record in about if record.name != "channel_layer.sqlite"} == {"ERROR"}
    assert [record for record in caplog.records if record.exc_info] == []
    assert len(about) <= 6, [record.getMessage() for record in about]
