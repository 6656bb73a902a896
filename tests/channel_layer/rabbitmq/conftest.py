"""A prefix of its own for each test, on the server of the test run; and a loop in which a layer's parts run."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from channel_layer.conformance import MakeLayer
from channel_layer.rabbitmq import RabbitmqChannelLayer
from channel_layer.rabbitmq.amqp import Connection, parameters
from channel_layer.rabbitmq.engine import Engine
from channel_layer.rabbitmq.schema import Schema
from channel_layer.rabbitmq.session import Session
from tests.conftest import running_rabbitmq
from tests.fixtures.rabbitmq_server import RabbitmqServer

T = TypeVar("T")

PATIENCE = 30.0


@pytest.fixture
def prefix() -> str:
    """Begins the names of this test's queues."""
    return f"t{uuid.uuid4().hex[:12]}:"


@pytest.fixture
def make_layer(rabbitmq_url: str, prefix: str) -> Iterator[MakeLayer]:
    """Layers with the test's own prefix, or with a neighbouring one."""
    made: list[RabbitmqChannelLayer] = []

    def make(neighbour: str = "", **options: object) -> RabbitmqChannelLayer:
        made.append(RabbitmqChannelLayer(rabbitmq_url, prefix=prefix + neighbour, **options))
        return made[-1]

    yield make
    for layer in made[:1]:
        layer.flush()
    for layer in made:
        layer.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RabbitmqServer]:
    """A server of this test's own, which it may break."""
    with running_rabbitmq(tmp_path / "broker") as server:
        yield server


@pytest.fixture
def schema(prefix: str) -> Schema:
    """Names with the test's own prefix."""
    return Schema(prefix, expiry=60, presence=30, quorum=False)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine, for no longer than a test may take."""

    async def bounded() -> T:
        return await asyncio.wait_for(main, PATIENCE)

    return asyncio.run(bounded())


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """A connection that is closed at the end of the block."""
    connection = await Connection.connect(parameters(url, 10, 10, "tests"), 10)
    yield connection
    await connection.close()


@asynccontextmanager
async def a_session(url: str) -> AsyncIterator[Session]:
    """A session that is closed at the end of the block."""
    session = await Session.open(parameters(url, 10, 10, "tests"), 10)
    yield session
    await session.close()


@asynccontextmanager
async def an_engine(url: str, prefix: str, **options: Any) -> AsyncIterator[Engine]:
    """The engine of a layer, in this event loop."""
    layer = RabbitmqChannelLayer(url, prefix=prefix, **options)
    engine = layer._running()
    yield engine
    await engine.close()


async def until(done: Callable[[], object], *, meanwhile: float = 0.005) -> None:
    """Wait until something has come about, which no event tells; `run` bounds the time."""
    while not (await found if isinstance(found := done(), Awaitable) else found):  # noqa: ASYNC110
        await asyncio.sleep(meanwhile)
