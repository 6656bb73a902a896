"""`channels.db`: old database connections are closed around every consumer, and cheaply."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import django.db
import pytest
from django.db import connection, transaction

from channels import db
from channels.db import (
    close_old_connections,
    database_sync_to_async,
    keeping_old_connections,
    suspect_connections,
)

pytestmark = pytest.mark.usefixtures("closed")


@pytest.fixture
def closed() -> Iterator[None]:
    """The thread has no connection, before and after, and its next walk is far away."""
    connection.close()
    suspect_connections()
    close_old_connections()
    yield
    connection.close()
    suspect_connections()


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry for each walk through all connections."""
    found: list[int] = []
    real = django.db.close_old_connections
    monkeypatch.setattr(django.db, "close_old_connections", lambda: (found.append(1), real())[1])
    monkeypatch.setattr(db, "WALK_SECONDS", 3600.0)
    suspect_connections()
    close_old_connections()
    found.clear()
    return found


def outlive() -> None:
    """Open the connection, and have it outlive CONN_MAX_AGE."""
    connection.ensure_connection()
    connection.close_at = 0.0


def test_a_connection_that_outlived_its_age_is_closed_without_a_walk(walks: list[int]) -> None:
    outlive()
    close_old_connections()
    assert connection.connection is None
    assert walks == []


def test_so_is_one_that_broke(walks: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    connection.ensure_connection()
    connection.close_at = None
    connection.errors_occurred = True
    monkeypatch.setattr(connection, "is_usable", lambda: False)
    close_old_connections()
    assert connection.connection is None
    assert walks == []


def test_one_that_is_young_and_well_stays_open_and_is_looked_at_again(walks: list[int]) -> None:
    connection.ensure_connection()
    connection.close_at = None
    close_old_connections()
    assert connection.connection is not None
    connection.close_at = 0.0
    close_old_connections()
    assert connection.connection is None


def test_one_that_is_opened_again_is_known_again(walks: list[int]) -> None:
    for _ in range(3):
        outlive()
        close_old_connections()
        assert connection.connection is None
    assert walks == []


def test_one_that_was_never_announced_is_found_when_a_walk_is_due(walks: list[int]) -> None:
    outlive()
    db._mine.opened.clear()  # as if connecting had failed behind the opening of the socket
    close_old_connections()
    assert connection.connection is not None
    suspect_connections()
    close_old_connections()
    assert connection.connection is None
    assert walks == [1]


def test_a_walk_is_due_from_time_to_time(walks: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "WALK_SECONDS", 0.0)
    suspect_connections()
    close_old_connections()
    close_old_connections()
    assert walks == [1, 1]


def test_other_threads_connections_are_left_to_them(walks: list[int]) -> None:
    outlive()
    thread = threading.Thread(target=close_old_connections)
    thread.start()
    thread.join()
    assert connection.connection is not None


class TestFromCoroutines:
    def test_the_connection_of_the_other_thread_is_closed(self) -> None:
        states: list[Any] = []

        def use(number: int) -> int:
            outlive()
            states.append(connection.connection)
            return number + 1

        async def twice() -> None:
            assert await database_sync_to_async(use)(1) == 2
            assert await database_sync_to_async(lambda: connection.connection)() is None

        asyncio.run(twice())
        assert states[0] is not None

    def test_it_is_closed_also_if_the_function_raises(self) -> None:
        def fail() -> None:
            outlive()
            raise RuntimeError("mine")

        async def run() -> None:
            with pytest.raises(RuntimeError, match="mine"):
                await database_sync_to_async(fail)()
            assert await database_sync_to_async(lambda: connection.connection)() is None

        asyncio.run(run())

    def test_a_connection_in_a_transaction_is_left_alone(self) -> None:
        def nested() -> None:
            with transaction.atomic():
                outlive()
                db._close_idle()
                assert connection.connection is not None

        async def run() -> None:
            await database_sync_to_async(nested)()

        asyncio.run(run())

    def test_it_keeps_the_functions_name(self) -> None:
        def find() -> None:
            """Find it."""

        assert database_sync_to_async(find).__name__ == "find"


def test_one_that_is_old_is_kept_while_others_may_read_from_it_and_one_that_broke_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outlive()
    with keeping_old_connections():
        close_old_connections()
        assert connection.connection is not None
        connection.errors_occurred = True
        monkeypatch.setattr(connection, "is_usable", lambda: False)
        close_old_connections()
        assert connection.connection is None
        connection.errors_occurred = False
        connection.ensure_connection()
        connection.close_at = 5.0  # that of the new one
    assert connection.close_at == 5.0
    outlive()
    with keeping_old_connections():
        close_old_connections()
    close_old_connections()
    assert connection.connection is None
