"""The example of docs/long-polling.md, taken from there and served by real processes."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from channel_layer.redis import RedisChannelLayer
from channel_layer.sqlite import SqliteChannelLayer
from tests.conftest import free_port, wait_until
from tests.end_to_end.processes import ROOT, Service, daphne

pytestmark = pytest.mark.slow

GUIDE = ROOT / "docs" / "long-polling.md"
POLL_SECONDS = 3

SETTINGS_OF_THE_TEST = """
import os
from demo.settings import CHANNEL_LAYERS as DEMO
CHANNEL_LAYERS["default"].update({name: value for name, value in DEMO["default"].items() if name != "ROUTING"})
"""


class News:
    """The project of the guide, running."""

    def __init__(self, directory: Path, broker: dict[str, str]) -> None:
        self.directory = directory
        self.port = free_port()
        self.environment = broker | {
            "PYTHONPATH": f"{directory}{os.pathsep}{ROOT}",
            "DJANGO_SETTINGS_MODULE": "project.settings",
        }
        manage = [sys.executable, str(directory / "manage.py")]
        self.manage = manage
        self.services = [
            Service("web", [daphne(), "project.asgi:channel_layer", "-p", str(self.port)], self.environment, directory),
            Service("worker", [*manage, "runworker", "-v2"], self.environment, directory),
            Service("delay", [*manage, "rundelay", "-v2"], self.environment, directory),
        ]
        self.layer: Any
        if broker["REDIS_URL"]:
            self.layer = RedisChannelLayer(hosts=[broker["REDIS_URL"]])
        else:
            self.layer = SqliteChannelLayer(path=broker["CHANNEL_FILE"])

    def write(self) -> None:
        """Make a new project and put the files into it that the guide shows, settings at their end."""
        self.run(sys.executable, "-m", "django", "startproject", "project", str(self.directory))
        (self.directory / "news").mkdir()
        (self.directory / "news" / "__init__.py").touch()
        blocks = re.findall(r"^```python\n# (\w+/\w+\.py)\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
        assert len(blocks) == 7
        for name, text in blocks:
            with (self.directory / name).open("a" if name.endswith("settings.py") else "w") as file:
                file.write(text.replace("POLL_SECONDS = 25", f"POLL_SECONDS = {POLL_SECONDS}"))
        with (self.directory / "project" / "settings.py").open("a") as file:
            file.write(SETTINGS_OF_THE_TEST)
        self.run(*self.manage, "makemigrations", "-v0", "news")
        self.run(*self.manage, "migrate", "-v0")

    def run(self, *command: str) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
        if "startproject" not in command:
            environment |= self.environment
        result = subprocess.run(
            command, cwd=self.directory, env=environment, capture_output=True, text=True, timeout=300
        )
        assert result.returncode == 0, result.stderr

    def start(self) -> None:
        for service in self.services:
            service.start()
        wait_until(self._answers, "the project answering")

    def _answers(self) -> bool:
        assert all(service.running for service in self.services)
        try:
            return self.ask("GET", "/news/poll/?after=x")[0] == 400
        except OSError:
            return False

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
        connection = self.begin(method, path, body)
        try:
            return finish(connection)
        finally:
            connection.close()

    def begin(self, method: str, path: str, body: str | None = None) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        fields = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        connection.request(method, path, body, fields)
        return connection

    def publish(self, text: str) -> None:
        assert self.ask("POST", "/news/", urlencode({"text": text}))[0] == 201

    def newest(self) -> int:
        """The id of the newest headline; 0 without any."""
        status, found = self.ask("GET", "/news/poll/")
        return int(found["headlines"][0]["id"]) if status == 200 else 0

    def waiting(self) -> int:
        return len(self.layer.group_channels("news"))

    def wait_for_waiting(self, count: int) -> None:
        wait_until(lambda: self.waiting() == count, f"{count} clients in the group\n{self.logs()}")

    def logs(self) -> str:
        return "\n".join(service.text() for service in self.services)


def finish(connection: http.client.HTTPConnection) -> tuple[int, Any]:
    response = connection.getresponse()
    text = response.read()
    return response.status, json.loads(text) if response.status == 200 else text


@pytest.fixture(scope="module")
def news(broker: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[News]:
    news = News(tmp_path_factory.mktemp("news"), broker)
    news.layer.flush()
    news.write()
    try:
        news.start()
        yield news
        for service in news.services:
            service.stop()
    finally:
        print(news.logs())
        for service in news.services:
            service.kill()
        news.layer.close()


def test_everybody_who_waits_gets_the_news(news: News) -> None:
    news.publish("before")
    newest = news.newest()
    clients = [news.begin("GET", f"/news/poll/?after={newest}") for _ in range(5)]
    news.wait_for_waiting(5)
    news.publish("Café opens")
    for client in clients:
        status, found = finish(client)
        client.close()
        assert (status, found["headlines"][0]) == (200, {"id": newest + 1, "text": "Café opens"})
    news.wait_for_waiting(0)


def test_what_was_published_between_two_polls_comes_at_once(news: News) -> None:
    news.publish("one")
    newest = news.newest()
    news.publish("two")
    news.publish("three")
    status, found = news.ask("GET", f"/news/poll/?after={newest}")
    assert status == 200
    assert [headline["text"] for headline in found["headlines"][:2]] == ["three", "two"]
    news.wait_for_waiting(0)


def test_a_client_that_goes_away_leaves_the_group(news: News) -> None:
    news.publish("something")
    client = news.begin("GET", f"/news/poll/?after={news.newest()}")
    news.wait_for_waiting(1)
    client.close()
    news.wait_for_waiting(0)


def test_a_client_that_waited_long_enough_is_to_ask_again(news: News) -> None:
    news.publish("something")
    assert news.ask("GET", f"/news/poll/?after={news.newest()}") == (204, b"")
    news.wait_for_waiting(0)


def test_no_client_misses_a_headline_while_many_are_published(news: News) -> None:
    news.publish("start")
    start = news.newest()
    seen: list[set[int]] = [set() for _ in range(4)]
    last = start + 10

    def listen(mine: set[int]) -> None:
        after = start
        while after < last:
            status, found = news.ask("GET", f"/news/poll/?after={after}")
            if status == 200:
                mine.update(headline["id"] for headline in found["headlines"])
                after = max(mine)

    threads = [threading.Thread(target=listen, args=[mine]) for mine in seen]
    for thread in threads:
        thread.start()
    for number in range(10):
        news.publish(f"headline {number}")
    for thread in threads:
        thread.join(60)
    wanted = set(range(start + 1, last + 1))
    assert [wanted - mine for mine in seen] == [set()] * 4
