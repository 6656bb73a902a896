"""`channels.db`: old database connections are closed around every consumer, and cheaply."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import django.db
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, transaction

from channels import db
from channels.db import (
    DatabaseSyncToAsync,
    aclose_old_connections,
    close_old_connections,
    database_sync_to_async,
    keeping_old_connections,
    suspect_connections,
)
from channels.runtime.sync_threads import SyncThreads

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
    real = django.db.connections.all
    monkeypatch.setattr(django.db.connections, "all", lambda **kwargs: (found.append(1), real(**kwargs))[1])
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

    def test_it_decorates_methods_and_can_be_subclassed(self) -> None:
        class Noting(DatabaseSyncToAsync[..., Any]):
            noted = 0

            def thread_handler(self, loop: Any, *args: Any, **kwargs: Any) -> Any:
                type(self).noted += 1
                return super().thread_handler(loop, *args, **kwargs)

        class Room:
            name = "kitchen"

            @database_sync_to_async
            def load(self, suffix: str) -> str:
                return self.name + suffix

            @Noting
            def store(self) -> str:
                return self.name

        assert asyncio.run(Room().load("!")) == "kitchen!"
        assert asyncio.run(Room().store()) == "kitchen"
        assert Noting.noted == 1


class TestCloseFromCoroutines:
    @pytest.fixture(autouse=True)
    def _no_thread_has_connections(self, closed: None) -> Iterator[None]:
        known = {*db._threads_with_connections}
        db._threads_with_connections.clear()
        yield
        db._threads_with_connections.update(known)

    @pytest.fixture
    def trips(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """An entry for each trip to a thread."""
        made: list[int] = []
        real = db._close_idle
        monkeypatch.setattr(db, "_close_idle", lambda: (made.append(1), real())[1])
        return made

    def test_an_old_connection_of_the_other_thread_is_closed(self, trips: list[int]) -> None:
        async def run() -> None:
            await sync_to_async(outlive)()
            await aclose_old_connections()
            assert await sync_to_async(lambda: connection.connection)() is None
            assert len(trips) == 1
            await aclose_old_connections()  # nothing is left to be closed
            assert len(trips) == 1
            await sync_to_async(outlive)()
            await aclose_old_connections()
            assert len(trips) == 2

        asyncio.run(run())

    def test_one_in_a_transaction_is_left_alone(self) -> None:
        async def run() -> None:
            await aclose_old_connections()
            assert await sync_to_async(lambda: connection.connection)() is not None

        with transaction.atomic():
            outlive()
            async_to_sync(run)()
            assert connection.connection is not None

    def test_in_a_worker_the_thread_is_looked_after_before_its_next_job(self, trips: list[int]) -> None:
        side = SyncThreads(1)

        async def run() -> None:
            side.enter()
            await sync_to_async(outlive)()
            await aclose_old_connections()
            assert await sync_to_async(lambda: connection.connection)() is not None  # it may be read from
            await sync_to_async(lambda: setattr(connection, "errors_occurred", True))()
            await sync_to_async(lambda: setattr(connection, "is_usable", lambda: False))()
            await aclose_old_connections()
            assert await sync_to_async(lambda: connection.connection)() is None
            await sync_to_async(lambda: delattr(connection, "is_usable"))()
            side.leave()

        try:
            asyncio.run(run())
        finally:
            side.close()
        assert trips == []


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
