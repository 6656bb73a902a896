"""A connection to the file: opened when needed, shared by threads, translated errors, safe to fork."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..exceptions import LayerConfigurationError, LayerUnavailable
from . import location, schema

LOCK_SECONDS = 4.0
"""How long to wait for other processes that write, before the layer counts as unavailable."""

T = TypeVar("T")


class BusyError(Exception):
    """What was to be done at once means waiting; see `Database.at_once`."""


_BUSY = ("database is locked", "database table is locked", "database schema is locked", "locking protocol")


class Database:
    """One connection, used by one thread at a time.

    A write transaction takes tens of microseconds and SQLite lets one process write at a time, so
    that more connections would gain nothing.

    SQLite must not be carried through a fork: the child would believe to hold the parent's locks.
    Before a fork every connection is closed, and both sides open theirs anew when they need it.

    Args:
        path: the file.
        private_directory: whether the directory is this layer's own and must be made and checked.

    Attributes:
        lock: held during every call; may be held over several of them.
    """

    def __init__(self, path: Path, private_directory: bool) -> None:
        self.path = path
        self._private_directory = private_directory
        self.lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._hurried: int | None = None
        self._inode: tuple[int, int] | None = None
        _every_database.add(self)

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work``, which only reads and may be run again, on the connection.

        Raises:
            LayerUnavailable, LayerConfigurationError
        """
        with self.lock:
            try:
                connection = self._connection or self._open()
                return self._patiently(lambda: work(connection))
            except sqlite3.DatabaseError as error:
                raise self._explained(error) from error

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` inside a transaction, which an exception undoes.

        Raises:
            LayerUnavailable: others kept the file locked, the disk is full, or it cannot be written.
            LayerConfigurationError
        """
        with self.lock:
            try:
                connection = self._connection or self._open()
                self._patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
                return _committed(connection, work)
            except sqlite3.DatabaseError as error:
                raise self._explained(error) from error

    def at_once(self, work: Callable[[], T]) -> T:
        """Run something that reads and writes here, so long as nothing has to be waited for: for an event loop.

        A transaction takes tens of microseconds, and waking another thread for it several times as long.

        Raises:
            BusyError: another thread or process is at it, or the file is yet to be opened. Transactions before that
                were carried out, so ``work`` has to be something that can be begun again.
        """
        if self._connection is None or not self.lock.acquire(blocking=False):
            raise BusyError
        try:
            self._hurried = threading.get_ident()
            return work()
        finally:
            self._hurried = None
            self.lock.release()

    @property
    def is_hurried(self) -> bool:
        """Whether the calling thread is inside `at_once`."""
        return self._hurried == threading.get_ident()

    def reopen_if_replaced(self) -> None:
        """Let go of a file that is no longer at its path, so that all processes meet in the new one."""
        with self.lock:
            if self._connection is not None and self._inode != _inode_of(self.path):
                self.close()

    def close(self) -> None:
        """Close the connection. The next use opens it again."""
        with self.lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._private_directory:
            location.secure_directory(self.path.parent)
        location.create_file(self.path)
        connection = sqlite3.connect(
            self.path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            self._patiently(lambda: self._set_up(connection))
        except BaseException:
            connection.close()
            raise
        self._inode = _inode_of(self.path)
        self._connection = connection
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        # Has to come before the first table; it lets the sweep give space back.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        [(mode,)] = connection.execute("PRAGMA journal_mode = WAL").fetchall()
        if mode != "wal":
            raise LayerConfigurationError(
                f"{self.path} lies on a file system without shared memory maps (a network drive?), where SQLite cannot "
                "be shared by processes. Set a file on a local disk (CONFIG: path)."
            )
        # Nothing here is worth keeping past a power cut.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN IMMEDIATE")
        _committed(connection, lambda ready: schema.prepare(ready, str(self.path)))

    def _patiently(self, work: Callable[[], T]) -> T:
        """Try again while other processes hold the lock.

        SQLite's own waiting starts with whole milliseconds; a transaction here takes a fraction of one.
        Only for what has no effect when it fails: reading, and beginning a transaction.
        """
        deadline = time.monotonic() + LOCK_SECONDS
        pause = 0.000_05
        while True:
            try:
                return work()
            except sqlite3.OperationalError as error:
                if str(error) not in _BUSY or time.monotonic() > deadline:
                    raise
                if self.is_hurried:
                    raise BusyError from error
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, 0.005)

    def _explained(self, error: sqlite3.DatabaseError) -> Exception:
        text = str(error)
        if text in _BUSY:
            return LayerUnavailable(str(self.path), f"other processes kept it locked for {LOCK_SECONDS:g} s")
        if "is full" in text:
            return LayerUnavailable(
                str(self.path), "no space is left on its device; free some, or move it (CONFIG: path)"
            )
        if "readonly" in text:
            return LayerUnavailable(str(self.path), "it cannot be written to; check its owner and permissions")
        if "not a database" in text or "malformed" in text:
            return LayerConfigurationError(
                f"{self.path} is damaged or no SQLite file. Stop all processes that use it and delete it; "
                "if it is a channel layer's file, it holds nothing but messages on their way."
            )
        return LayerUnavailable(str(self.path), text)

    def _before_fork(self) -> None:
        self.lock.acquire()
        self.close()

    def _after_fork_in_parent(self) -> None:
        self.lock.release()

    def _after_fork_in_child(self) -> None:
        self.lock = threading.RLock()


def _committed(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Run ``work`` in the transaction that was begun; commit it, or undo it after an exception."""
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _inode_of(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


_every_database: weakref.WeakSet[Database] = weakref.WeakSet()
_closed_for_fork: list[Database] = []


def _before_fork() -> None:
    _closed_for_fork[:] = _every_database
    for database in _closed_for_fork:
        database._before_fork()


def _after_fork_in_parent() -> None:
    while _closed_for_fork:
        _closed_for_fork.pop()._after_fork_in_parent()


def _after_fork_in_child() -> None:
    while _closed_for_fork:
        _closed_for_fork.pop()._after_fork_in_child()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
