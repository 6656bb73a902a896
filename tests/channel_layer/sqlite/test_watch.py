"""Waking up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.sqlite import queues
from channel_layer.sqlite import watch as watch_module
from channel_layer.sqlite.database import Database
from channel_layer.sqlite.location import Location
from channel_layer.sqlite.watch import FileWatch
from tests.channel_layer.interleaving import Intruder
from tests.workers.interleaving import Scene, interleave

Eventually = Callable[..., Any]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Database]:
    database = Database(Location(tmp_path / "layer.sqlite3"))
    yield database
    database.close()


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Eventually) -> Iterator[FileWatch]:
    monkeypatch.setattr(watch_module, "LINGER", 0.05)
    watch = FileWatch(Database(Location(tmp_path / "layer.sqlite3")), lambda: None)
    yield watch
    eventually(lambda: watch._thread is None, "the end of the watching thread")


def put(database: Database, channel: str) -> None:
    database.write(lambda connection: queues.put_front(connection, channel, [(b"x", None)], 60))


def test_who_waits_is_woken_by_what_comes_on_its_channel(watch: FileWatch, other: Database) -> None:
    mine, yours = threading.Event(), threading.Event()
    with watch.waiting(["room", "hall"], mine.set), watch.waiting(["kitchen"], yours.set):
        put(other, "elsewhere")
        put(other, "hall")
        assert mine.wait(20)
        assert not yours.is_set()
        put(other, "kitchen")
        assert yours.wait(20)


def test_the_thread_ends_when_nobody_waits_and_comes_back(
    watch: FileWatch, other: Database, eventually: Eventually
) -> None:
    for _ in range(2):
        woken = threading.Event()
        with watch.waiting(["room"], woken.set):
            put(other, "room")
            assert woken.wait(20)
        eventually(lambda: watch._thread is None, "the end of the watching thread")


def test_two_who_begin_to_wait_at_once_have_one_thread(watch: FileWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[threading.Thread] = []
    entered = threading.Event()

    def wait_too() -> None:
        with watch.waiting(["hall"], lambda: None):
            entered.set()

    intruder = Intruder(wait_too)

    class Threads:
        def __getattr__(self, name: str) -> Any:
            return getattr(threading, name)

        def Thread(self, **arguments: Any) -> threading.Thread:
            intruder()
            made.append(threading.Thread(**arguments))
            return made[-1]

    monkeypatch.setattr(watch_module, "threading", Threads())
    with watch.waiting(["room"], lambda: None):
        assert entered.wait(20)
    intruder.finish()
    assert len(made) == 1


def test_somebody_who_begins_to_wait_while_the_thread_ends_has_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(watch_module, "LINGER", 0.0)

    def scene() -> Scene:
        watch = FileWatch(Database(Location(tmp_path / "layer.sqlite3")), lambda: None)
        watch._thread = threading.current_thread()  # stands for the one that looks around below
        goes_on: list[bool] = []
        waiting = ExitStack()

        def check() -> None:
            with waiting:
                assert goes_on == [True] or watch._thread is not None
            eventually(lambda: goes_on == [True] or watch._thread is None, "the end of the watching thread")

        return (
            lambda: goes_on.append(watch._go_on()),
            lambda: waiting.enter_context(watch.waiting(["room"], lambda: None)),
            check,
        )

    interleave(scene, watch_module)


def test_waking_all_wakes_all(watch: FileWatch) -> None:
    events = [threading.Event() for _ in range(3)]
    with (
        watch.waiting(["a"], events[0].set),
        watch.waiting(["a"], events[1].set),
        watch.waiting(["b"], events[2].set),
    ):
        watch.wake_all()
        assert all(event.is_set() for event in events)


def test_an_error_wakes_everybody_is_logged_once_and_passes(
    watch: FileWatch, other: Database, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    failing = threading.Event()
    failing.set()

    def look() -> None:
        if failing.is_set():
            raise LayerUnavailable("there", "away")

    watch._every_look = look
    woken = threading.Event()
    with caplog.at_level(logging.WARNING), watch.waiting(["room"], woken.set):
        for _ in range(2):
            assert woken.wait(20)
            woken.clear()
        assert [record.getMessage() for record in caplog.records] == [
            "channel layer at there is unavailable: away. Trying again."
        ]
        failing.clear()
        put(other, "room")
        eventually(woken.is_set, "the wake-up by a message")
