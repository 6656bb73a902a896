"""Test databases that several connections and processes can use."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connections


@contextmanager
def on_disk() -> Iterator[None]:
    """Have copies in files in place of SQLite databases in memory inside a ``with`` block.

    A database in memory cannot be reached from another process, and threads that share its one
    connection get into each other's transactions. What is changed in the copies is gone afterwards.
    Databases of other kinds are left alone.
    """
    with tempfile.TemporaryDirectory(prefix="live-test-", ignore_cleanup_errors=True) as directory:
        # Mirrors of a database have its name, and then its copy.
        copies: dict[str, str] = {}
        moved = []
        try:
            wrappers: Iterable[Any] = connections.all()
            for number, wrapper in enumerate(wrappers):
                if wrapper.vendor == "sqlite" and wrapper.is_in_memory_db():
                    name, memory = _move(wrapper, copies, Path(directory) / f"{number}.sqlite3")
                    moved.append((wrapper, name, memory))
            yield
        finally:
            for wrapper, name, memory in moved:
                wrapper.close()
                wrapper.settings_dict["NAME"] = name
                wrapper.connection = memory


def _move(wrapper: Any, copies: dict[str, str], path: Path) -> tuple[str, Any]:
    """Turn a wrapper to a copy of its database; what it had until now is returned and stays open."""
    wrapper.ensure_connection()
    name, memory = wrapper.settings_dict["NAME"], wrapper.connection
    if name not in copies:
        copy = sqlite3.connect(path)
        try:
            memory.backup(copy)
            copy.execute("PRAGMA journal_mode=WAL")  # readers do not wait for writers
        finally:
            copy.close()
        copies[name] = str(path)
    wrapper.connection = None
    wrapper.settings_dict["NAME"] = copies[name]
    return name, memory
