"""The connection: locks, transactions, forks."""

from __future__ import annotations

import gc
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from channel_layer.sqlite.database import BusyError, Database
from channel_layer.sqlite.location import Location


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "layer.sqlite3"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(Location(path))
    yield database
    database.close()


def rows(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM frames").fetchone()[0])


def insert(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO frames (channel, expires, control, data) VALUES ('a', 1, 0, x'00')")


def test_a_transaction_is_kept_or_undone_as_a_whole(database: Database) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        insert(connection)
        raise ZeroDivisionError

    database.write(insert)
    with pytest.raises(ZeroDivisionError):
        database.write(fail)
    assert database.read(rows) == 1
    database.write(insert)
    assert database.read(rows) == 2


def test_every_file_is_its_owners_alone(database: Database, path: Path) -> None:
    database.write(insert)
    files = list(path.parent.iterdir())
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_opening_a_second_connection_keeps_the_locks_of_the_first(database: Database, path: Path) -> None:
    database.write(insert)
    second = Database(Location(path))
    second.read(rows)
    # Another process removes the log when it closes its only connection and sees no locks.
    visit = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT 1 FROM frames'); c.close()"
    subprocess.run([sys.executable, "-c", visit, str(path)], check=True, timeout=60)
    assert path.with_name(path.name + "-wal").exists()
    database.write(insert)
    assert second.read(rows) == 2
    second.close()


def test_a_connection_is_closed_with_the_object_that_holds_it(path: Path) -> None:
    dropped = Database(Location(path))
    dropped.write(insert)
    connection = dropped._connection
    assert connection is not None
    del dropped
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_it_waits_for_another_writer(database: Database, path: Path) -> None:
    database.write(insert)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    thread = threading.Thread(target=database.write, args=(insert,))
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    other.execute("COMMIT")
    other.close()
    thread.join(20)
    assert database.read(rows) == 2


def test_what_was_taken_after_waiting_for_another_writer_goes_with_whoever_took_it(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors lead to the frames of their callers; if they were kept, large messages would be until the next collection.

    A web server grew by three times as much for a large download, the more so the busier the machine was.
    """

    class Message:
        pass

    def take() -> weakref.ref[Message]:
        taken = database.write(lambda _: Message())
        return weakref.ref(taken)

    database.write(insert)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        pauses = iter([lambda: None, lambda: other.execute("COMMIT")])
        monkeypatch.setattr("time.sleep", lambda _: next(pauses)())
        gc.disable()
        try:
            assert take()() is None
        finally:
            gc.enable()
        assert next(pauses, None) is None


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_closes_the_connection_on_both_sides(database: Database) -> None:
    database.write(insert)
    child = os.fork()
    if child == 0:
        os._exit(0 if database._connection is None and database.read(rows) == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert database.read(rows) == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_waits_for_a_transaction_in_another_thread(database: Database) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        insert(connection)
        inside.set()
        go_on.wait(20)

    thread = threading.Thread(target=database.write, args=(slow,))
    thread.start()
    assert inside.wait(20)
    threading.Timer(0.05, go_on.set).start()
    child = os.fork()
    if child == 0:
        os._exit(0 if database.read(rows) == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join(20)
    assert database.read(rows) == 1


def test_a_file_that_was_replaced_is_let_go(database: Database, path: Path) -> None:
    database.write(insert)
    assert not database.is_replaced
    for file in path.parent.iterdir():
        file.unlink()
    assert database.read(rows) == 1
    assert database.is_replaced
    database.close()
    assert database.read(rows) == 0
    assert not database.is_replaced


def test_what_is_to_be_done_at_once_waits_for_nobody(database: Database, path: Path) -> None:
    with pytest.raises(BusyError):
        database.at_once(lambda: database.read(rows))  # it would have to be opened
    database.write(insert)
    assert database.at_once(lambda: (database.is_hurried, database.read(rows))) == (True, 1)
    assert not database.is_hurried
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusyError):
        database.at_once(lambda: database.write(insert))
    other.rollback()
    other.close()
    with database.lock, ThreadPoolExecutor(1) as pool, pytest.raises(BusyError):
        pool.submit(database.at_once, lambda: database.read(rows)).result()
    database.at_once(lambda: database.write(insert))
    assert database.read(rows) == 2
