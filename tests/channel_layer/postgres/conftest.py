"""A schema of its own for each test, on the server of the test run."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest

from channel_layer.conformance import MakeLayer
from channel_layer.postgres import PostgresChannelLayer


@pytest.fixture
def schema(postgres_dsn: str) -> Iterator[str]:
    """Name of a schema for this test alone."""
    name = f"t{uuid.uuid4().hex[:12]}"
    yield name
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
def make_layer(postgres_dsn: str, schema: str) -> Iterator[MakeLayer]:
    """Layers on the test's own schema, or on a neighbouring one."""
    made: list[PostgresChannelLayer] = []

    def make(neighbour: str = "", **options: object) -> PostgresChannelLayer:
        made.append(PostgresChannelLayer(postgres_dsn, schema=schema + neighbour, **options))
        return made[-1]

    yield make
    for layer in made:
        layer.close()
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {schema}_next CASCADE")


@pytest.fixture
def sql(postgres_dsn: str) -> Iterator[Callable[..., list[tuple]]]:
    """Asks the server itself."""
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:

        def ask(text: str, *parameters: object) -> list[tuple]:
            cursor = connection.execute(text, parameters or None)
            return cursor.fetchall() if cursor.description else []

        yield ask
