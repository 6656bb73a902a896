"""A project written for Channels 1, as it is, over Redis: ``daphne`` and ``manage.py runworker``."""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.conftest import close_answer, free_port, wait_until
from tests.end_to_end.processes import ROOT, Service

PROJECT = ROOT / "tests" / "fixtures" / "channels1_project"
SECONDS = 60.0

pytestmark = pytest.mark.redis


class Board:
    """The project being served."""

    def __init__(self, directory: Path, redis_url: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "DJANGO_SETTINGS_MODULE": "bulletin.settings",
            "REDIS_URL": redis_url,
            "DATABASE_PATH": str(directory / "board.sqlite3"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(PROJECT)]),
        }
        self.manage = [sys.executable, str(PROJECT / "manage.py")]
        serve = [sys.executable, "-m", "interface_server.cli", "bulletin.asgi:channel_layer", "-p", str(self.port)]
        self.services = [
            Service("web", serve, self.environment, directory),
            Service("worker", [*self.manage, "runworker", "-v2"], self.environment, directory),
        ]

    def run(self, *arguments: str) -> None:
        environment = os.environ | self.environment
        subprocess.run([*self.manage, *arguments], env=environment, check=True, timeout=300, stdout=subprocess.DEVNULL)

    def answers(self) -> bool:
        for service in self.services:
            assert service.running
        try:
            with urllib.request.urlopen(self.url, timeout=60) as response:
                return bool(response.status == 200)
        except OSError as error:
            close_answer(error)
            return False


class Visitor:
    """A browser without a window: cookies, forms, a socket."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def get(self, path: str) -> str:
        with self.opener.open(self.board.url + path, timeout=SECONDS) as response:
            return str(response.read().decode())

    def post(self, path: str, **fields: str) -> Any:
        token = re.search(r'name="csrfmiddlewaretoken" value="(.+?)"', self.get("/login/"))
        assert token is not None
        data = urllib.parse.urlencode({"csrfmiddlewaretoken": token.group(1), **fields}).encode()
        return self.opener.open(self.board.url + path, data, timeout=SECONDS)

    def log_in(self, name: str) -> Visitor:
        with self.post("/login/", username=name, password="secret") as response:
            assert f"Hello {name}" in response.read().decode()
        return self

    def socket(self, path: str) -> ClientConnection:
        cookie = "; ".join(f"{one.name}={one.value}" for one in self.cookies)
        headers = {"Cookie": cookie} if cookie else {}
        return connect(f"ws://127.0.0.1:{self.board.port}{path}", additional_headers=headers)


@pytest.fixture(scope="module")
def board(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    board = Board(tmp_path_factory.mktemp("board"), new_database())
    board.run("migrate", "-v0")
    create = (
        "from django.contrib.auth.models import User; [User.objects.create_user(n, password='secret') for n in 'ab']"
    )
    board.run("shell", "-c", create)
    web, worker = board.services
    with web, worker:
        wait_until(board.answers, "the project answering")
        yield board
        for service in (worker, web):
            service.stop()


@pytest.fixture(autouse=True)
def logs_on_failure(board: Board, request: pytest.FixtureRequest) -> Iterator[None]:
    failed_before = request.session.testsfailed
    yield
    if request.session.testsfailed > failed_before:
        print("\n".join(service.text() for service in board.services))


def test_a_stranger_sees_the_page_and_is_denied_the_socket(board: Board) -> None:
    visitor = Visitor(board)
    assert "Hello stranger" in visitor.get("/")
    with pytest.raises(InvalidStatus) as caught:
        visitor.socket("/boards/news/").close()
    assert caught.value.response.status_code == 403


def test_notices_reach_everybody_at_the_board_and_nobody_elsewhere(board: Board) -> None:
    ada, bob = Visitor(board).log_in("a"), Visitor(board).log_in("b")
    with (
        ada.socket("/boards/news/") as first,
        bob.socket("/boards/news/") as second,
        bob.socket("/boards/jobs/") as other,
    ):
        first.send(json.dumps({"text": "hello"}))
        expected = {"author": "a", "text": "hello"}
        assert json.loads(first.recv(SECONDS)) == json.loads(second.recv(SECONDS)) == expected
        with ada.post("/boards/news/pin/", text="read this") as response:
            assert response.status == 202
        pinned = {"author": "a", "text": "PINNED read this"}
        assert json.loads(first.recv(SECONDS)) == json.loads(second.recv(SECONDS)) == pinned
        second.close()
        assert json.loads(first.recv(SECONDS)) == {"left": "b"}
        other.send(json.dumps({"text": "only here"}))
        assert json.loads(other.recv(SECONDS)) == {"author": "b", "text": "only here"}
    assert "a: hello" in ada.get("/")


def test_who_comes_later_gets_what_is_there(board: Board) -> None:
    texts = ["first", "second", "third"]
    with Visitor(board).log_in("a").socket("/boards/later/") as writer:
        for text in texts:
            writer.send(json.dumps({"text": text}))
            assert json.loads(writer.recv(SECONDS))["text"] == text
        with Visitor(board).log_in("b").socket("/boards/later/") as reader:
            assert [json.loads(reader.recv(SECONDS))["text"] for _ in texts] == texts


def test_the_worker_shows_each_message(board: Board) -> None:
    Visitor(board).get("/")
    worker = board.services[1]
    wait_until(lambda: re.search(r"http\.request +/ +[\d.]+ ms", worker.text()), "a line about the request")
