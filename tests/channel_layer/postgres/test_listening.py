"""Waking those who wait."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from channel_layer.postgres import PostgresChannelLayer
from channel_layer.postgres.listening import bell
from tests.conftest import wait_until

Ask = Callable[..., list[tuple]]


@pytest.mark.parametrize("reader", ["websocket.receive", "daphne.x!", "http.request.body?abc"])
def test_the_database_and_the_process_agree_on_names(postgres_dsn: str, schema: str, sql: Ask, reader: str) -> None:
    layer = PostgresChannelLayer(postgres_dsn, schema=schema)
    layer.check()
    layer.close()
    assert sql(f"SELECT {schema}.bell(%s)", reader) == [(bell(schema, reader),)]


def test_a_name_tells_schemas_apart_and_single_reader_channels_not() -> None:
    assert bell("one", "x") != bell("other", "x")
    assert bell("one", "body?a") == bell("one", "body?b") != bell("one", "x")


def test_who_waits_is_woken_though_the_listening_connection_was_cut(
    postgres_dsn: str, schema: str, sql: Ask, eventually: Callable[..., object]
) -> None:
    layer = PostgresChannelLayer(postgres_dsn, schema=schema)
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.extend(layer.receive_batch(["later"], timeout=30)))
    thread.start()
    listening = "SELECT pid FROM pg_stat_activity WHERE query LIKE %s"
    [(pid,)] = eventually(lambda: sql(listening, f'LISTEN "{schema}%'), "the thread to listen")
    sql("SELECT pg_terminate_backend(%s)", pid)
    eventually(lambda: [(pid,)] != sql(listening, f'LISTEN "{schema}%') != [], "another connection to listen")
    layer.send("later", {"n": 1})
    thread.join(30)
    assert [item.message for item in got] == [{"n": 1}]
    layer.close()


def test_nothing_is_asked_more_than_once_a_second_while_nothing_comes(
    postgres_dsn: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = PostgresChannelLayer(postgres_dsn, schema=schema)
    assert layer.receive_batch(["quiet"], timeout=0.2) == []  # the thread listens from here on
    takes = []
    take = layer._calls.take
    monkeypatch.setattr(layer._calls, "take", lambda *given: takes.append(given) or take(*given))
    assert layer.receive_batch(["quiet"], timeout=2.5) == []
    assert len(takes) <= 7  # two at the start, two at the end, and one for each second
    layer.close()


def test_a_layer_that_is_closed_has_no_connections(postgres_dsn: str, schema: str, sql: Ask) -> None:
    layer = PostgresChannelLayer(postgres_dsn + "?application_name=closing", schema=schema)
    layer.receive_batch(["quiet"], timeout=0.1)
    layer.close()
    wait_until(
        lambda: sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'closing'") == [(0,)],
        "the server to see it",
    )
