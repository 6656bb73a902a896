"""Making the tables, and finding others."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest

from channel_layer.exceptions import LayerConfigurationError, LayerUnusable
from channel_layer.postgres import PostgresChannelLayer
from channel_layer.postgres.connections import has_ended
from channel_layer.postgres.schema import VERSION, Schema
from tests.conftest import wait_until

Ask = Callable[..., list[tuple]]


@pytest.mark.parametrize("name", ["", "Upper", "a b", "pg_own", "x; DROP TABLE y", "a" * 32, 7, None])
def test_a_name_that_cannot_be_used_is_refused(name: object) -> None:
    with pytest.raises(LayerConfigurationError, match="schema must be a name of at most 31 lower-case letters"):
        Schema(name, "here")


def test_many_who_come_at_once_make_the_tables_once(postgres_dsn: str, schema: str, sql: Ask) -> None:
    layers = [PostgresChannelLayer(postgres_dsn, schema=schema) for _ in range(8)]
    failed: list[Exception] = []

    def check(layer: PostgresChannelLayer) -> None:
        try:
            layer.check()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=check, args=(layer,)) for layer in layers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for layer in layers:
        layer.close()
    assert failed == []
    assert sql(f"SELECT count(*) FROM {schema}.format") == [(1,)]


def test_tables_of_another_version_are_left_alone(postgres_dsn: str, schema: str, sql: Ask) -> None:
    layer = PostgresChannelLayer(postgres_dsn, schema=schema)
    layer.check()
    layer.close()
    sql(f"UPDATE {schema}.format SET version = 99")
    with pytest.raises(
        LayerUnusable, match=rf"format 99, this one has {VERSION}\)\. .* run DROP SCHEMA {schema} CASCADE"
    ):
        layer.check()
    sql(f"UPDATE {schema}.format SET version = {VERSION}")
    layer.check()
    layer.close()


def test_tables_that_somebody_drops_are_made_anew(postgres_dsn: str, schema: str, sql: Ask) -> None:
    layer = PostgresChannelLayer(postgres_dsn, schema=schema)
    layer.send("before", {"n": 1})
    sql(f"DROP SCHEMA {schema} CASCADE")
    with pytest.raises(Exception, match="they are made anew"):
        layer.send("after", {"n": 1})
    layer.send("after", {"n": 2})
    assert layer.receive(["after"]) == ("after", {"n": 2})
    layer.close()


def test_what_a_crash_may_empty_is_not_logged(postgres_dsn: str, schema: str, sql: Ask) -> None:
    layer = PostgresChannelLayer(postgres_dsn, schema=schema)
    layer.check()
    layer.close()
    kinds = sql(
        "SELECT relname, relpersistence::text FROM pg_class WHERE relkind = 'r' AND relnamespace = %s::regnamespace",
        schema,
    )
    assert {name for name, kind in kinds if kind == "p"} == {"format"}
    assert len(kinds) == 8


def test_a_queue_of_any_length_is_read_by_its_index(postgres_dsn: str, schema: str) -> None:
    """A plan that was made for an empty table stays: it must not be the scan of all."""
    layer = PostgresChannelLayer(postgres_dsn, schema=schema)
    layer.check()
    with psycopg.connect(postgres_dsn) as other:
        assert other.execute("SHOW enable_seqscan").fetchall() == [("on",)]
    shown = layer._driver.connection.execute(
        f"EXPLAIN SELECT ctid FROM {schema}.frames WHERE channel = 'x' ORDER BY id LIMIT 5 FOR UPDATE SKIP LOCKED"
    ).fetchall()
    assert "Index Scan using frames_by_channel" in str(shown)
    layer.close()


def test_a_schema_that_is_dropped_is_gone_with_all_that_lay_in_it(postgres_dsn: str, schema: str, sql: Ask) -> None:
    layer = PostgresChannelLayer(postgres_dsn, schema=schema)
    layer.send("before", {"n": 1})
    layer.drop()
    assert sql("SELECT to_regnamespace(%s)", schema) == [(None,)]
    layer.send("after", {"n": 2})
    assert (layer.receive(["before"]), layer.receive(["after"])) == ((None, None), ("after", {"n": 2}))
    layer.close()


def test_connections_that_are_cut_are_those_of_the_schema(postgres_dsn: str, schema: str, sql: Ask) -> None:
    layers = [PostgresChannelLayer(postgres_dsn, schema=name) for name in (schema, schema, f"{schema}_next")]
    own, same, next_to_it = layers
    try:
        for layer in layers:
            layer.send("x", {"n": 1})
        connections = [layer._driver.connection for layer in layers]
        assert own.cut() == 1
        wait_until(lambda: connections[1].closed or has_ended(connections[1]), "the connection to be cut")
        assert not has_ended(connections[0])
        assert not has_ended(connections[2])
        assert same.receive(["x"]) == ("x", {"n": 1})
    finally:
        next_to_it.drop()
        for layer in layers:
            layer.close()
