"""A connection to the file: opened when needed, shared by threads, translated errors, safe to fork."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..exceptions import LayerConfigurationError, LayerUnavailable
from . import schema
from .errors import is_busy, is_full, is_lasting, translate, unusable
from .location import Location
from .patience import LOCK_SECONDS, Patience

T = TypeVar("T")


class BusyError(Exception):
    """Raised where work that was to be done at once would have to wait; see `Database.at_once`."""


class Database:
    """One connection, used by one thread at a time.

    A write transaction takes tens of microseconds and SQLite lets one process write at a time, so
    that more connections would gain nothing.

    SQLite must not be carried through a fork: the child would believe to hold the parent's locks.
    Before a fork every connection is closed, and both sides open theirs anew when they need it.

    Args:
        location: the file.

    Attributes:
        lock: held during every call; may be held over several of them.
    """

    def __init__(self, location: Location) -> None:
        self.path = location.path
        self._location = location
        self.lock = threading.RLock()
        self._reading, self._writing = Patience(), Patience()
        self._connection: sqlite3.Connection | None = None
        self._committing = False
        self._hurried: int | None = None
        self._inode: tuple[int, int] | None = None
        _every_database.add(self)

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work``, which only reads and may be run again, on the connection.

        Raises:
            LayerUnavailable, LayerUnusable
        """
        with self.lock:
            try:
                connection = self._connection or self._open()
                return self._patiently(connection, self._reading, lambda: work(connection))
            except sqlite3.Error as error:
                raise self._translated(error) from error

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` inside a transaction, which an exception undoes. It is run again if that helps.

        Raises:
            LayerUnavailable: others kept the file locked, the disk is full, or it cannot be written.
            LayerUnusable: it is not the layer's file, or not for its processes alone.
        """
        with self.lock:
            try:
                connection = self._connection or self._open()
                try:
                    return self._transact(connection, work)
                except sqlite3.OperationalError as error:
                    if not (is_full(error) and self._merges_log(connection)):
                        raise
                return self._transact(connection, work)
            except sqlite3.Error as error:
                raise self._translated(error) from error

    def merge_log(self) -> int:
        """Give back the space of the log if it can be had; returns how many bytes inside the file are free.

        Raises:
            LayerUnavailable, LayerUnusable
        """
        with self.lock:
            try:
                connection = self._connection or self._open()
                self._merges_log(connection)
                [(free,)] = connection.execute(
                    "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size"
                ).fetchall()
                return int(free)
            except sqlite3.Error as error:
                raise self._translated(error) from error

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
        """True if the calling thread is inside `at_once`."""
        return self._hurried == threading.get_ident()

    @property
    def is_replaced(self) -> bool:
        """True if the file that is open is no longer at its path."""
        return self._connection is not None and self._inode != _inode_of(self.path)

    def close(self) -> None:
        """Close the connection. The next use opens it again."""
        with self.lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def __del__(self) -> None:
        # Python 3.13 complains of a connection that is dropped unclosed, as the layer of a process that ends is.
        if self._connection is not None:
            self._connection.close()

    def _open(self) -> sqlite3.Connection:
        if self.is_hurried:
            raise BusyError
        try:
            self._location.prepare()
            connection = self._connect()
        except LayerConfigurationError as error:
            raise unusable(error, self.path) from error
        self._inode = _inode_of(self.path)
        self._connection = connection
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            self._patiently(connection, self._writing, lambda: self._set_up(connection))
        except BaseException:
            connection.close()
            raise
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
        # Reading opens the log, in which nothing is written before it has been looked at.
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        self._location.check_files()
        connection.execute("BEGIN IMMEDIATE")
        self._commit(connection, lambda ready: schema.prepare(ready, str(self.path)))

    def _transact(self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
        self._patiently(connection, self._writing, lambda: connection.execute("BEGIN IMMEDIATE"))
        return self._commit(connection, work)

    def _commit(self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in the transaction that was begun; commit it, or undo it after an exception."""
        self._committing = False
        try:
            result = work(connection)
            self._committing = True
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._committing = False
        return result

    def _merges_log(self, connection: sqlite3.Connection) -> bool:
        """Merge the log into the file and give back its space; returns whether that was possible."""
        if self.is_hurried:
            raise BusyError  # it takes its time
        try:
            [(busy, _, _)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.OperationalError:
            return False
        return not busy

    def _patiently(self, connection: sqlite3.Connection, patience: Patience, work: Callable[[], T]) -> T:
        """Do what has no effect when it fails because others hold the lock, again while they do."""
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            if self.is_hurried:
                raise BusyError from error
        return patience.retry(work, partial(_version, connection))

    def _translated(self, error: sqlite3.Error) -> LayerUnavailable:
        committing, self._committing = self._committing, False
        if is_lasting(error):
            self.close()
        return translate(error, self.path, LOCK_SECONDS, committing)

    def _before_fork(self) -> None:
        self.lock.acquire()
        self.close()

    def _after_fork_in_parent(self) -> None:
        self.lock.release()

    def _after_fork_in_child(self) -> None:
        self.lock = threading.RLock()


def _version(connection: sqlite3.Connection) -> object:
    """A number that changes with every commit of others, or nothing if even reading is impossible."""
    try:
        return connection.execute("PRAGMA data_version").fetchone()
    except sqlite3.OperationalError:
        return None


def _inode_of(path: Path) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
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
