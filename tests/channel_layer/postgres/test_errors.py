"""Errors of psycopg, as what a caller of the layer gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import psycopg
import pytest

from channel_layer.exceptions import LayerUnavailable, LayerUnusable
from channel_layer.postgres import PostgresChannelLayer, errors
from tests.conftest import free_port

Ask = Callable[..., list[tuple]]
PASSWORD = "do-not-tell"


@pytest.fixture
def stranger(sql: Ask) -> Iterator[str]:
    """A user who may connect and nothing else."""
    name = f"stranger_{uuid4().hex[:8]}"
    sql(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    yield name
    sql(f"DROP OWNED BY {name}")
    sql(f"DROP ROLE {name}")


def checked(dsn: str, **options: object) -> LayerUnavailable:
    layer = PostgresChannelLayer(dsn, **options)
    with pytest.raises(LayerUnavailable) as caught:
        layer.check()
    layer.close()
    assert PASSWORD not in str(caught.value)
    assert not caught.value.uncertain
    return caught.value


def test_nobody_at_the_address() -> None:
    port = free_port()
    error = checked(f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/nothing")
    assert not isinstance(error, LayerUnusable)
    assert f"channel layer at 127.0.0.1:{port}/nothing is unavailable" in str(error)
    assert "refused" in str(error)


def test_a_database_that_does_not_exist(postgres_dsn: str) -> None:
    error = checked(postgres_dsn.replace("tests@", f"tests:{PASSWORD}@").replace("/postgres", "/elsewhere"))
    assert isinstance(error, LayerUnusable)
    assert 'database "elsewhere" does not exist. Check the user, the password and the database' in str(error)


def test_a_user_who_does_not_exist(postgres_dsn: str) -> None:
    error = checked(postgres_dsn.replace("tests@", f"nobody:{PASSWORD}@"))
    assert isinstance(error, LayerUnusable)
    assert 'role "nobody" does not exist' in str(error)


def test_a_missing_right_is_named(postgres_dsn: str, stranger: str) -> None:
    error = checked(postgres_dsn.replace("tests@", f"{stranger}:{PASSWORD}@"), schema="not_mine")
    assert isinstance(error, LayerUnusable)
    assert "lacks a right: permission denied for database postgres. Let it own the layer's schema" in str(error)


def test_who_owns_the_schema_needs_no_other_right(postgres_dsn: str, schema: str, sql: Ask, stranger: str) -> None:
    sql(f"CREATE SCHEMA {schema} AUTHORIZATION {stranger}")
    layer = PostgresChannelLayer(postgres_dsn.replace("tests@", f"{stranger}:{PASSWORD}@"), schema=schema)
    layer.check()
    layer.group_add("group", "me!a")
    layer.send_group("group", {"n": 1})
    layer.receive(["me!"])
    assert layer.receive_batch(["nothing"], timeout=0.05) == []
    layer._vacuum()
    layer.close()


def test_tables_of_somebody_else(postgres_dsn: str, schema: str, stranger: str) -> None:
    own = PostgresChannelLayer(postgres_dsn, schema=schema)
    own.check()
    own.close()
    error = checked(postgres_dsn.replace("tests@", f"{stranger}:{PASSWORD}@"), schema=schema)
    assert f"permission denied for schema {schema}" in str(error)


def test_a_server_that_only_reads(postgres_dsn: str, schema: str) -> None:
    error = checked(postgres_dsn + "?options=-c%20default_transaction_read_only%3Don", schema=schema)
    assert isinstance(error, LayerUnusable)
    assert "is a replica or read-only. Name the primary" in str(error)


def test_only_a_broken_connection_leaves_it_open_if_something_happened() -> None:
    assert errors.failed(psycopg.OperationalError("server closed the connection"), "here").uncertain
    assert not errors.failed(psycopg.errors.DiskFull("no space"), "here").uncertain


def test_tables_that_are_gone_are_an_outage_that_ends() -> None:
    error = errors.failed(psycopg.errors.UndefinedTable("no frames"), "here")
    assert not isinstance(error, LayerUnusable)
    assert "its tables are gone (no frames); they are made anew" in str(error)
