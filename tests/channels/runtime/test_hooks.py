"""`channels.runtime.hooks`: what happens around workers and consumers, with a real worker."""

from __future__ import annotations

import threading
from typing import Any

import django.db
import pytest
from django.db import connection, connections

from channel_layer.channel import Message
from channels import db, signals
from channels.exceptions import DenyConnection
from channels.runtime.hooks import DjangoHook
from routing import Router, route
from workers import Worker

from ..messages import REPLY


@pytest.fixture
def seen() -> Any:
    """Names of the signals in the order in which they were sent, with the channel where there is one."""
    found: list[tuple[str, str]] = []
    receivers = []
    for name in ("consumer_started", "consumer_finished", "worker_ready", "worker_process_ready"):

        def receiver(name: str = name, **kwargs: Any) -> None:
            found.append((name, kwargs["message"].channel.name if "message" in kwargs else ""))

        getattr(signals, name).connect(receiver)
        receivers.append((getattr(signals, name), receiver))
    yield found
    for signal, receiver in receivers:
        signal.disconnect(receiver)


def work(layer: Any, router: Router, until: threading.Event) -> None:
    """Run a worker until the event is set."""
    worker = Worker(layer, router, threads=1, hooks=[DjangoHook()])
    thread = threading.Thread(target=worker.run)
    thread.start()
    assert until.wait(20)
    worker.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_signals_surround_the_worker_and_each_consumer(layer: Any, seen: Any) -> None:
    done = threading.Event()
    layer.send("a", {})
    work(layer, Router([route("a", lambda message: done.set())]), done)
    assert seen[0] == ("worker_process_ready", "")
    assert ("worker_ready", "") in seen
    assert [one for one in seen if one[1]] == [("consumer_started", "a"), ("consumer_finished", "a")]


def test_a_consumer_that_denies_is_finished_too(layer: Any, seen: Any) -> None:
    done = threading.Event()

    def deny(message: Any) -> None:
        done.set()
        raise DenyConnection

    layer.send("websocket.connect", {"reply_channel": REPLY, "path": "/"})
    work(layer, Router([route("websocket.connect", deny)]), done)
    assert ("consumer_finished", "websocket.connect") in seen
    assert layer.receive(["daphne.test!"]) == (REPLY, {"accept": False})


def test_connections_that_went_bad_are_replaced_before_the_next_consumer(layer: Any) -> None:
    done, states = threading.Event(), []

    def use(message: Any) -> None:
        connection.ensure_connection()
        states.append(connection.connection)
        connection.errors_occurred = True
        connection.is_usable = lambda: False
        if message["last"]:
            done.set()

    layer.send("a", {"last": False})
    layer.send("a", {"last": True})
    work(layer, Router([route("a", use)]), done)
    assert len(states) == 2
    assert states[0] is not states[1]


def test_a_thread_that_ends_closes_the_connections_that_django_would_keep(
    layer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
    used: list[Any] = []
    done = threading.Event()

    def consumer(message: Any) -> None:
        own = connections["default"]
        own.ensure_connection()
        used.append(own)
        done.set()

    layer.send("a", {})
    work(layer, Router([route("a", consumer)]), done)
    assert [own.connection for own in used] == [None]


def test_after_an_error_all_connections_of_the_thread_are_looked_at(
    layer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks, message = [], Message({}, "a", layer)
    real = django.db.connections.all
    monkeypatch.setattr(django.db.connections, "all", lambda **kwargs: (walks.append(1), real(**kwargs))[1])
    monkeypatch.setattr(db, "WALK_SECONDS", 3600.0)
    hook = DjangoHook()
    db.suspect_connections()
    hook.before(message)
    hook.after(message, None)
    assert walks == [1]
    hook.before(message)
    hook.after(message, RuntimeError())
    assert walks == [1, 1]
    db.suspect_connections()


def test_the_end_of_an_async_consumer_needs_a_thread_if_somebody_listens_to_the_signal() -> None:
    class Overriding(DjangoHook):
        def after(self, message: Any, error: BaseException | None) -> None:
            """Do something else."""

    def receiver(**kwargs: Any) -> None:
        """Perhaps query the database."""

    assert not DjangoHook().after_blocks()
    assert Overriding().after_blocks()
    signals.consumer_finished.connect(receiver)
    try:
        assert DjangoHook().after_blocks()
    finally:
        signals.consumer_finished.disconnect(receiver)
