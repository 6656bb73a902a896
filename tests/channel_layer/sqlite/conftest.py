"""A prepared database in memory, for the modules that hold statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from channel_layer.sqlite import schema


@pytest.fixture
def store() -> Iterator[sqlite3.Connection]:
    """A connection with the tables made, without transactions."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.prepare(connection, "memory")
    yield connection
    connection.close()
