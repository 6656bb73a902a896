"""Keeping delayed messages, and taking them out."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from channels.delay import store
from channels.delay.models import DelayedMessage


def row(channel: str = "later", seconds: float = -1.0, content: Any = "{}") -> DelayedMessage:
    return DelayedMessage(channel_name=channel, content=content, due_date=timezone.now() + timedelta(seconds=seconds))


def names(rows: list[DelayedMessage]) -> list[str]:
    return [row.channel_name for row in rows]


def test_due_messages_are_taken_the_earliest_first_and_once() -> None:
    store.save([row("second", -1), row("first", -2), row("not yet", 60), row("third", -0.5)])
    assert names(store.claim(2, ())) == ["first", "second"]
    assert names(store.claim(2, ())) == ["third"]
    assert store.claim(2, ()) == []
    assert DelayedMessage.objects.get().channel_name == "not yet"


def test_channels_can_be_left_alone() -> None:
    store.save([row("full"), row("free")])
    assert names(store.claim(5, {"full"})) == ["free"]


def test_the_next_due_message_is_known() -> None:
    assert store.next_due(()) is None
    store.save([row("a", 60), row("b", 30)])
    assert store.next_due(()) == DelayedMessage.objects.get(channel_name="b").due_date
    assert store.next_due({"b"}) == DelayedMessage.objects.get(channel_name="a").due_date


def test_a_taken_message_can_be_put_back_in_its_place() -> None:
    store.save([row("first"), row("second", -0.5)])
    before = DelayedMessage.objects.get(channel_name="first").pk
    store.save(store.claim(1, ()))
    assert DelayedMessage.objects.get(channel_name="first").pk == before
    assert names(store.claim(5, ())) == ["first", "second"]


def test_one_message_that_the_database_refuses_does_not_keep_out_the_others(caplog: Any) -> None:
    store.save([row("a"), row("bad", content=None), row("b")])
    assert sorted(names(list(DelayedMessage.objects.all()))) == ["a", "b"]
    assert "a delayed message for bad cannot be stored and is skipped" in caplog.text


def test_nothing_is_kept_when_the_database_fails_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row("a"), row("b")]

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(rows[1], "save", fail)
    with pytest.raises(OperationalError):
        store.save(rows)
    assert not DelayedMessage.objects.exists()
    monkeypatch.undo()
    store.save(rows)
    assert DelayedMessage.objects.count() == 2


def test_several_that_take_at_once_take_each_message_once() -> None:
    store.save([row(f"channel-{number}") for number in range(100)])
    taken: list[str] = []

    def take() -> None:
        try:
            while True:
                try:
                    rows = store.claim(7, ())
                except OperationalError:  # locked by another
                    continue
                if not rows:
                    return
                taken.extend(names(rows))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(taken) == sorted(f"channel-{number}" for number in range(100))


def test_a_missing_table_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.table_exists()
    monkeypatch.setattr(connection.introspection, "table_names", list)
    assert not store.table_exists()


def test_databases_that_lock_rows_are_asked_to_pass_over_those_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    store.save([row()])
    for name in ("has_select_for_update", "has_select_for_update_skip_locked"):
        monkeypatch.setattr(connection.features, name, True)
    # SQLite does not know the words; what counts here is that they are said, and that nothing is lost by it.
    with CaptureQueriesContext(connection) as queries, pytest.raises(OperationalError, match="syntax error"):
        store.claim(5, ())
    assert any(query["sql"].endswith("FOR UPDATE SKIP LOCKED") for query in queries)
    assert DelayedMessage.objects.count() == 1
