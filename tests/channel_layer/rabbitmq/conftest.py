"""A prefix of its own for each test, on the server of the test run; and a loop in which a layer's parts run."""

from __future__ import annotations

import asyncio
import gc
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from channel_layer.conformance import MakeLayer
from channel_layer.rabbitmq import RabbitmqChannelLayer, amqp, session
from channel_layer.rabbitmq.amqp import Connection, parameters
from channel_layer.rabbitmq.engine import Engine
from channel_layer.rabbitmq.schema import Schema
from channel_layer.rabbitmq.session import Session
from tests.conftest import running_rabbitmq
from tests.fixtures.rabbitmq_server import RabbitmqServer

T = TypeVar("T")

AsyncioConnection = amqp.AsyncioConnection

PATIENCE = 30.0


@pytest.fixture
def prefix() -> str:
    """Begins the names of this test's queues."""
    return f"t{uuid.uuid4().hex[:12]}:"


class Opened:
    """The connections that a test has made."""

    def __init__(self) -> None:
        self._every: list[amqp.AsyncioConnection] = []

    def add(self, *arguments: Any, **options: Any) -> amqp.AsyncioConnection:
        """Make one."""
        self._every.append(AsyncioConnection(*arguments, **options))
        return self._every[-1]

    def left(self) -> list[amqp.AsyncioConnection]:
        """Those that are not closed."""
        return [one for one in self._every if not one.is_closed]

    def forget(self) -> None:
        """Hold none of them any more."""
        self._every.clear()


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Fail a test that leaves connections open."""
    opened = Opened()
    monkeypatch.setattr(amqp, "AsyncioConnection", opened.add)
    yield opened
    left = [repr(one) for one in opened.left()]
    if left:
        opened.forget()
        gc.collect()  # the warnings about their sockets are for this test
    assert left == []


@pytest.fixture
def open_layer() -> Iterator[Callable[..., RabbitmqChannelLayer]]:
    """Layers with any address, closed at the end."""
    made: list[RabbitmqChannelLayer] = []

    def open_(*arguments: Any, **options: Any) -> RabbitmqChannelLayer:
        made.append(RabbitmqChannelLayer(*arguments, **options))
        return made[-1]

    yield open_
    for layer in made:
        layer.close()


@pytest.fixture
def make_layer(open_layer: Callable[..., RabbitmqChannelLayer], rabbitmq_url: str, prefix: str) -> Iterator[MakeLayer]:
    """Layers with the test's own prefix, or with a neighbouring one."""
    made: list[RabbitmqChannelLayer] = []

    def make(neighbour: str = "", **options: object) -> RabbitmqChannelLayer:
        made.append(open_layer(rabbitmq_url, prefix=prefix + neighbour, **options))
        return made[-1]

    yield make
    for layer in made[:1]:
        layer.flush()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RabbitmqServer]:
    """A server of this test's own, which it may break."""
    with running_rabbitmq(tmp_path / "broker") as server:
        yield server


@pytest.fixture
def only_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any broker is taken for one that permits no other queues than those that outlive its restart."""

    async def permits_transient(*arguments: object) -> bool:
        return False

    monkeypatch.setattr(session, "permits_transient", permits_transient)


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
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def a_session(url: str) -> AsyncIterator[Session]:
    """A session that is closed at the end of the block."""
    opened = await Session.open(parameters(url, 10, 10, "tests"), 10)
    try:
        yield opened
    finally:
        await opened.close()


@asynccontextmanager
async def an_engine(url: str, prefix: str, **options: Any) -> AsyncIterator[Engine]:
    """The engine of a layer, in this event loop."""
    layer = RabbitmqChannelLayer(url, prefix=prefix, **options)
    engine = layer._running()
    try:
        yield engine
    finally:
        await engine.close()


async def stopped_at_every_step(
    begin: Callable[[], Coroutine[Any, Any, T]], stop: Callable[[asyncio.Task[T]], Awaitable[None]]
) -> None:
    """Begin something again and again, and stop it after ever more steps, until it has come to its end before."""
    steps, is_done = 0, False
    while not is_done:
        running = asyncio.create_task(begin())
        for _ in range(steps):
            await asyncio.sleep(0)
        is_done = running.done()
        await stop(running)
        steps += 1 + steps // 8


async def give_up(making: asyncio.Task[Connection] | asyncio.Task[Session]) -> None:
    """Cancel what makes a connection; one that is there already is closed."""
    making.cancel()
    await asyncio.wait([making])
    if not making.cancelled():
        await making.result().close()


async def until(done: Callable[[], object], *, meanwhile: float = 0.005) -> None:
    """Wait until something has come about, which no event tells; `run` bounds the time."""
    while not (await found if isinstance(found := done(), Awaitable) else found):  # noqa: ASYNC110
        await asyncio.sleep(meanwhile)
