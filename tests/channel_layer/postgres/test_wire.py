"""Statements past psycopg's cursors: what goes to the server comes back the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from channel_layer.postgres.connections import AsyncConnection, Connection, Statement
from channel_layer.postgres.wire import Parameter, encoded


@pytest.fixture
def connection(postgres_dsn: str) -> Iterator[Connection]:
    with Connection.connect(postgres_dsn, autocommit=True) as made:
        yield made


VALUES: list[tuple[str, Parameter]] = [
    ("text", 'a "name", {of} \\ all'),
    ("text", "ü"),
    ("integer", -7),
    ("bigint", 2**40),
    ("boolean", True),
    ("boolean", False),
    ("double precision", 1_764_326_000.123456),
    ("double precision", 1e-300),
    ("bytea", b"\0\xff\\x"),
    ("bytea", b""),
    ("text", None),
    ("text[]", ["a", None, 'b "c", \\{}', ""]),
    ("text[]", []),
    ("bytea[]", [b"\0", b"", None, b"x" * 70_000]),
    ("bytea[]", [None, None]),
    ("integer[]", [1, None, -3]),
    ("bigint[]", [2**40]),
    ("boolean[]", [True, False]),
    ("double precision[]", [0.1, None, 60.0]),
]


@pytest.mark.parametrize(("of", "value"), VALUES)
def test_a_parameter_comes_back_as_it_was(connection: Connection, of: str, value: Parameter) -> None:
    for _ in range(3):  # unprepared, being prepared, prepared
        assert connection.rows(Statement(f"SELECT %s::{of}", (value,))) == [(value,)]


def test_a_statement_is_prepared_when_it_comes_again(connection: Connection) -> None:
    def prepared() -> list[tuple[object, ...]]:
        return connection.rows(Statement("SELECT statement FROM pg_prepared_statements"))

    connection.rows(Statement("SELECT %s::text, %s::integer", ("a", 1)))
    assert prepared() == []
    for _ in range(3):
        assert connection.rows(Statement(b"SELECT %s::integer + %s::integer", (1, 2))) == [(3,)]
        connection.rows(Statement("SELECT %s::text, %s::integer", ("a", 1)))
    assert sorted(prepared()) == [("SELECT $1::integer + $2::integer",), ("SELECT $1::text, $2::integer",)]


def test_without_parameters_there_may_be_several_statements(connection: Connection) -> None:
    several = "CREATE TEMPORARY TABLE three (n integer); INSERT INTO three VALUES (1), (2); SELECT n FROM three"
    assert connection.rows(Statement(several)) == [(1,), (2,)]
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.rows(Statement("SELECT 1; SELECT 1 / 0; SELECT 2"))


def test_after_an_error_the_connection_is_as_before(connection: Connection) -> None:
    for _ in range(3):
        with pytest.raises(psycopg.errors.DivisionByZero, match="division by zero"):
            connection.rows(Statement("SELECT 1 / %s::integer", (0,)))
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.rows(Statement("SELECT %s FROM nothing_of_this_name", (0,)))
        assert connection.rows(Statement("SELECT 1 / %s::integer", (1,))) == [(1,)]


def test_more_than_the_socket_takes_at_once_goes_both_ways(postgres_dsn: str, connection: Connection) -> None:
    large = [bytes([n]) * 3_000_000 for n in range(4)]

    async def main() -> None:
        other = await AsyncConnection.connect(postgres_dsn, autocommit=True)
        for _ in range(3):
            assert await other.rows(Statement("SELECT %s::bytea[]", (large,))) == [(large,)]
        await other.close()

    asyncio.run(main())
    assert connection.rows(Statement("SELECT %s::bytea[]", (large,))) == [(large,)]


def test_lists_of_numbers_are_written_as_text() -> None:
    assert encoded([1, None, 2])[0] == b"{1,NULL,2}"
