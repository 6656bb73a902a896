"""Connections that wait for a server only so long."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial

import psycopg
import pytest

from channel_layer.postgres import connections
from channel_layer.postgres.connections import AsyncConnection, Connection, Statement, TimedOut, has_ended
from tests.fixtures.freezing import frozen

Ask = Callable[..., list[tuple]]

SLEEP = Statement("SELECT pg_sleep(%s)", (30.0,))


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CALL_SECONDS", 0.3)


def test_who_gets_no_answer_gives_up_and_the_connection_with_it(postgres_dsn: str) -> None:
    with Connection.connect(postgres_dsn, autocommit=True) as connection:
        with pytest.raises(TimedOut, match=r"did not answer within 0\.3 s"):
            connection.rows(SLEEP)
        assert connection.closed


def test_a_task_that_gets_no_answer_gives_up(postgres_dsn: str) -> None:
    async def main() -> None:
        connection = await AsyncConnection.connect(postgres_dsn, autocommit=True)
        with pytest.raises(TimedOut):
            await connection.rows(SLEEP)
        assert connection.closed

    asyncio.run(main())


def test_a_cancelled_statement_takes_its_connection_along_at_once(postgres_dsn: str) -> None:
    """So that its answer is not taken for that of the next statement."""

    async def main() -> float:
        connection = await AsyncConnection.connect(postgres_dsn, autocommit=True)
        task = asyncio.create_task(connection.rows(SLEEP))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert connection.closed
        return time.monotonic() - began

    assert asyncio.run(main()) < 0.2


def test_a_frozen_server_process_is_given_up(postgres_dsn: str) -> None:
    with Connection.connect(postgres_dsn, autocommit=True) as connection:
        pid = connection.pgconn.backend_pid
        with frozen(pid), pytest.raises(TimedOut):
            connection.rows(Statement("SELECT 1"))


def test_a_connection_that_the_server_has_ended_is_noticed_before_it_is_used(
    postgres_dsn: str, sql: Ask, eventually: Callable[..., object]
) -> None:
    connection = Connection.connect(postgres_dsn, autocommit=True)
    assert not has_ended(connection)
    sql("SELECT pg_terminate_backend(%s)", connection.pgconn.backend_pid)
    eventually(lambda: has_ended(connection), "the end to be noticed")
    connection.close()
    assert has_ended(connection)


def test_statements_without_rows_have_none(postgres_dsn: str) -> None:
    with Connection.connect(postgres_dsn, autocommit=True) as connection:
        assert connection.rows(Statement("SET jit = off")) == []
        assert connection.rows(Statement("SELECT %s::bytea", (b"\0\xff",))) == [(b"\0\xff",)]
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.rows(Statement("SELECT * FROM nothing_of_this_name"))


def test_a_loop_watches_the_socket_no_longer_than_the_connection_lives(
    postgres_dsn: str, sql: Ask, eventually: Callable[..., object]
) -> None:
    async def main() -> None:
        for end in ("close", "terminate", "give up"):
            connection = await AsyncConnection.connect(postgres_dsn, autocommit=True)
            assert await connection.rows(Statement("SELECT 1")) == [(1,)]
            watched = connection._watched
            if end == "terminate":
                sql("SELECT pg_terminate_backend(%s)", connection.pgconn.backend_pid)
                eventually(partial(has_ended, connection), "the end to be noticed")
                with pytest.raises(psycopg.OperationalError):
                    await connection.rows(Statement("SELECT 1"))
            elif end == "give up":
                with pytest.raises(TimedOut):
                    await connection.rows(SLEEP)
            await connection.close()
            assert not asyncio.get_running_loop().remove_reader(watched)
            with pytest.raises(OSError, match="descriptor"):
                os.fstat(watched)

    asyncio.run(main())
