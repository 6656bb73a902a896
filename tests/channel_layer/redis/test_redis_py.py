"""What is taken from redis-py beyond its public names is still there, in the release that is installed."""

from __future__ import annotations

import ast
import asyncio
import configparser
import re
import socket
from importlib.metadata import version
from pathlib import Path

import pytest
import redis

from channel_layer.redis import redis_py
from channel_layer.redis.hosts import Host
from tests.test_house import ROOT

PRIVATE = ("_sock", "_writer", "_parser", "_reader", "_connect")
INSTALLED = f"redis-py {version('redis')}"


@pytest.mark.redis
def test_an_open_connection_has_a_socket(redis_url: str) -> None:
    connection = Host(redis_url).connect_sync()
    connection.connect()
    assert isinstance(redis_py.socket_of(connection), socket.socket), INSTALLED
    connection.disconnect()


@pytest.mark.redis
def test_a_socket_can_be_opened_before_anything_is_said(redis_url: str) -> None:
    connection = Host(redis_url).connect_sync()
    with redis_py.opened_socket(connection) as opened:
        assert isinstance(opened, socket.socket), INSTALLED
        assert opened.getpeername()


@pytest.mark.redis
def test_an_open_asyncio_connection_has_a_transport(redis_url: str) -> None:
    async def main() -> None:
        connection = Host(redis_url).connect_async()
        await connection.connect()
        assert isinstance(redis_py.transport_of(connection), asyncio.Transport), INSTALLED
        await connection.disconnect()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("NOSCRIPT No matching script", redis.exceptions.NoScriptError),
        ("LOADING Redis is loading", redis.BusyLoadingError),
        ("ERR unknown command", redis.ResponseError),
    ],
)
def test_error_replies_have_their_class(text: str, kind: type[Exception]) -> None:
    assert type(redis_py.error_of(text)) is kind, INSTALLED


def test_nobody_else_uses_private_names_of_redis_py() -> None:
    others = [path for path in (ROOT / "channel_layer").rglob("*.py") if path.name != "redis_py.py"]
    assert [str(path) for path in others if used(path)] == []
    assert used(Path(redis_py.__file__)) == {"redis._parsers", "_connect", "_sock", "_writer"}


def used(module: Path) -> set[str]:
    """Private modules of redis-py that are imported, and private attributes of something that is not ``self``."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and re.match(r"redis\..*\b_", node.module or ""):
            found.add(str(node.module))
        elif isinstance(node, ast.Attribute) and node.attr in PRIVATE and ast.unparse(node.value) != "self":
            found.add(node.attr)
    return found


def test_the_requirement_ends_before_the_next_major_release() -> None:
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    [requirement] = re.findall(r"^redis\b.*", metadata["options"]["install_requires"], re.MULTILINE)
    assert re.search(rf"<{int(version('redis').split('.')[0]) + 1}\b", requirement), requirement
