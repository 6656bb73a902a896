"""Channel layers of processes: the environment that gives them one, and the same layer for the test that watches."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest

from channel_layer.layer import ChannelLayer
from channel_layer.postgres import PostgresChannelLayer
from channel_layer.rabbitmq import RabbitmqChannelLayer
from channel_layer.redis import RedisChannelLayer
from channel_layer.sqlite import SqliteChannelLayer

postgres_databases, virtual_hosts = itertools.count(1), itertools.count(1)


def environment_of(broker: str, request: pytest.FixtureRequest, directory: Path) -> dict[str, str]:
    """The environment for processes that have a database or virtual host of a shared server, or a file, to themselves.

    Args:
        broker: ``redis``, ``sqlite``, ``postgres`` or ``rabbitmq``.
        request: of the test or fixture, for the server.
        directory: for the file.
    """
    if broker == "redis":
        return {"REDIS_URL": request.getfixturevalue("new_database")()}
    if broker == "rabbitmq":
        server = request.getfixturevalue("rabbitmq_server")
        return {"REDIS_URL": "", "RABBITMQ_URL": server.virtual_host(f"tests_{next(virtual_hosts)}")}
    if broker == "postgres":
        dsn = request.getfixturevalue("postgres_dsn")
        name = f"tests_{next(postgres_databases)}"
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return {"REDIS_URL": "", "POSTGRES_DSN": f"{dsn.rpartition('/')[0]}/{name}"}
    return {"REDIS_URL": "", "CHANNEL_FILE": str(directory / "layer.sqlite3")}


def layer_of(environment: Mapping[str, str], presence: float = 30.0) -> ChannelLayer:
    """The layer that the demo's settings make of an environment.

    Args:
        environment: with the address of one broker.
        presence: seconds of silence after which a process is gone.
    """
    if url := environment.get("REDIS_URL"):
        return RedisChannelLayer(hosts=url.split(), presence=presence)
    if dsn := environment.get("POSTGRES_DSN"):
        return PostgresChannelLayer(dsn, presence=presence)
    if url := environment.get("RABBITMQ_URL"):
        return RabbitmqChannelLayer(url, presence=presence)
    return SqliteChannelLayer(environment["CHANNEL_FILE"], presence=presence)
