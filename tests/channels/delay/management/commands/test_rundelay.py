"""``manage.py rundelay`` as processes of its own, over Redis and over SQLite."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from channel_layer.redis import RedisChannelLayer
from channel_layer.sqlite import SqliteChannelLayer
from tests.conftest import running_redis, wait_until
from tests.end_to_end.processes import ROOT, Service

SETTINGS = "tests.channels.delay.settings"


class Delays:
    """Processes that run the command, and a layer to talk to them."""

    def __init__(self, directory: Path, environment: dict[str, str], layer: Any) -> None:
        self.directory, self.layer = directory, layer
        self.database = directory / "database.sqlite3"
        self.environment = environment | {
            "DJANGO_SETTINGS_MODULE": SETTINGS,
            "TEST_DATABASE": str(self.database),
        }
        self.processes: list[Service] = []
        self._numbers = itertools.count(1)

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=ROOT, env=os.environ | self.environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    def start(self, *arguments: str) -> Service:
        command = [sys.executable, "-m", "django", "rundelay", "-v", "2", *arguments]
        process = Service(f"rundelay-{next(self._numbers)}", command, self.environment, self.directory)
        self.processes.append(process)
        process.start()
        wait_until(lambda: process.running and "Delayed messages on" in process.text(), "rundelay", within=60)
        return process

    def delay(self, number: int, milliseconds: float, channel: str = "later") -> None:
        self.layer.send("asgi.delay", {"channel": channel, "delay": milliseconds, "content": {"n": number}})

    def numbers(self, count: int, channel: str = "later") -> list[int]:
        """The numbers of so many messages, as they come out."""
        found: list[int] = []

        def enough() -> bool:
            assert all(process.process is None or process.running for process in self.processes)
            found.extend(d.message["n"] for d in self.layer.receive_batch([channel], 100, 0.2))
            return len(found) >= count

        wait_until(enough, f"{count} messages on {channel}", within=60)
        return found

    def nothing_more(self, channel: str = "later") -> bool:
        return self.layer.receive_batch([channel], 100) == []

    def make_due(self) -> None:
        """Have all messages in the table be due."""
        with closing(sqlite3.connect(self.database, timeout=60)) as database, database:
            database.execute("UPDATE channels_delay_delayedmessage SET due_date = '2000-01-01 00:00:00'")

    def waiting(self) -> int:
        """Messages in the table."""
        with closing(sqlite3.connect(self.database, timeout=60)) as database:
            return int(database.execute("SELECT count(*) FROM channels_delay_delayedmessage").fetchone()[0])


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the tables, to be copied."""
    directory = tmp_path_factory.mktemp("migrated")
    delays = Delays(directory, {"TEST_CHANNEL_FILE": str(directory / "layer.sqlite3")}, None)
    result = delays.manage("migrate", "-v0")
    assert result.returncode == 0, result.stderr
    return delays.database


@pytest.fixture
def database(migrated: Path, tmp_path: Path) -> Path:
    """A test's own copy of it."""
    return Path(shutil.copy(migrated, tmp_path))


@pytest.fixture(params=["redis", "sqlite"])
def delays(request: pytest.FixtureRequest, database: Path, tmp_path: Path) -> Iterator[Delays]:
    """A migrated project over each layer."""
    layer: Any
    if request.param == "redis":
        url, prefix = request.getfixturevalue("redis_url"), f"delay-{secrets.token_hex(8)}:"
        layer = RedisChannelLayer(hosts=[url], prefix=prefix, channel_capacity={"narrow": 2})
        environment = {"TEST_REDIS_URL": url, "TEST_PREFIX": prefix}
    else:
        layer = SqliteChannelLayer(path=tmp_path / "layer.sqlite3", channel_capacity={"narrow": 2})
        environment = {"TEST_CHANNEL_FILE": str(tmp_path / "layer.sqlite3")}
    with ExitStack() as stack:
        stack.callback(layer.close)
        stack.callback(layer.flush)
        delays = Delays(tmp_path, environment, layer)
        stack.callback(lambda: [process.kill() for process in delays.processes])
        yield delays


@pytest.mark.slow
def test_messages_come_when_they_are_due_and_in_that_order(delays: Delays) -> None:
    # Taken together, and therefore counted from the same moment, however long this test is held up.
    for number, milliseconds in [(3, 900), (1, 300), (2, 600)]:
        delays.delay(number, milliseconds)
    process = delays.start()
    assert delays.numbers(3) == [1, 2, 3]
    process.stop()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_stop_loses_nothing_and_what_was_due_meanwhile_is_sent_on_start(delays: Delays, number: int) -> None:
    process = delays.start("--sleep", "3600")
    for n in range(200):
        delays.delay(n, 1500 + n)
    process.running.send_signal(number)
    process.wait_for_end()
    assert "Traceback" not in process.text()
    delays.start()
    assert delays.numbers(200) == list(range(200))
    assert delays.nothing_more()


@pytest.mark.slow
def test_bad_messages_end_nothing(delays: Delays) -> None:
    process = delays.start()
    delays.layer.send("asgi.delay", {"test": "value"})
    delays.delay(0, -1)
    delays.layer.send("asgi.delay", {"channel": "later", "delay": 0, "content": {"n": b"\x00"}})
    delays.delay(1, 0)
    assert delays.numbers(1) == [1]
    wait_until(lambda: process.text().count("is skipped") == 3, "three lines about bad messages")
    process.stop()


@pytest.mark.slow
def test_several_processes_send_each_message_once(delays: Delays) -> None:
    processes = [delays.start("--sleep", "0.05") for _ in range(3)]
    for n in range(300):
        delays.delay(n, n % 7 * 100)
    assert sorted(delays.numbers(300)) == list(range(300))
    for process in processes:
        process.stop()
    assert delays.nothing_more()
    assert delays.waiting() == 0


@pytest.mark.slow
def test_messages_for_a_full_channel_come_once_there_is_room(delays: Delays) -> None:
    process = delays.start()
    for n in range(5):
        delays.delay(n, 0, "narrow")
    wait_until(lambda: process.running and "channel narrow is full" in process.text(), "a full channel")
    delays.delay(9, 0)
    assert delays.numbers(1) == [9]
    assert delays.numbers(5, "narrow") == [0, 1, 2, 3, 4]
    process.stop()


@pytest.mark.slow
def test_a_layer_that_goes_away_is_waited_for(redis_server: str, database: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        first.enter_context(running_redis(redis_server, tmp_path, "--unixsocket", str(tmp_path / "redis.sock")))
        url, prefix = f"unix://{tmp_path / 'redis.sock'}", "delay:"
        layer = RedisChannelLayer(hosts=[url], prefix=prefix)
        stack.callback(layer.close)
        delays = Delays(tmp_path, {"TEST_REDIS_URL": url, "TEST_PREFIX": prefix}, layer)
        process = delays.start("--sleep", "0.1")
        stack.callback(process.kill)
        delays.delay(1, 3_600_000)
        wait_until(lambda: delays.waiting() == 1, "the message in the table")
        first.close()
        layer.close()
        wait_until(lambda: process.running and "is away" in process.text(), "the outage being noticed")
        stack.enter_context(running_redis(redis_server, tmp_path, "--unixsocket", str(tmp_path / "redis.sock")))
        wait_until((tmp_path / "redis.sock").is_socket, "the socket of the second server")
        delays.make_due()
        assert delays.numbers(1) == [1]
        delays.delay(2, 0)
        assert delays.numbers(1) == [2]
        process.stop()


def error_of(*arguments: str, layers: dict[str, Any] | None = None) -> str:
    with override_settings(CHANNEL_LAYERS=layers or {}), pytest.raises(CommandError) as caught:
        call_command("rundelay", *arguments, skip_checks=True)
    return str(caught.value)


def on_sqlite(tmp_path: Path) -> dict[str, Any]:
    backend = "channel_layer.sqlite.SqliteChannelLayer"
    return {"default": {"BACKEND": backend, "CONFIG": {"path": str(tmp_path / "layer.sqlite3")}, "ROUTING": []}}


def test_a_layer_of_one_process_is_refused() -> None:
    text = error_of(layers={"default": {"BACKEND": "asgiref.inmemory.ChannelLayer", "ROUTING": []}})
    assert text.startswith("channel layer 'default' (MemoryChannelLayer) reaches no further than one process")


def test_an_unknown_layer_is_refused(tmp_path: Path) -> None:
    text = error_of("--layer", "mail", layers=on_sqlite(tmp_path))
    assert text == "there is no channel layer 'mail'; CHANNEL_LAYERS has 'default'"


@pytest.mark.parametrize("sleep", ["0", "-1", "nan"])
def test_a_sleep_that_is_none_is_refused(sleep: str, tmp_path: Path) -> None:
    assert error_of(f"--sleep={sleep}", layers=on_sqlite(tmp_path)) == f"--sleep must be above 0 seconds, not {sleep}"


def test_a_missing_table_is_named_in_a_sentence(tmp_path: Path) -> None:
    delays = Delays(tmp_path, {"TEST_CHANNEL_FILE": str(tmp_path / "layer.sqlite3")}, None)
    result = delays.manage("rundelay")
    assert result.returncode == 1
    assert "the table of delayed messages is missing. Run manage.py migrate first." in result.stderr
    assert "Traceback" not in result.stderr
