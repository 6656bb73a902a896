"""Two connections, and what is known while they last."""

from __future__ import annotations

import asyncio

import pytest

from channel_layer.rabbitmq.amqp import ChannelClosedByBroker
from channel_layer.rabbitmq.schema import Queue, Schema
from channel_layer.rabbitmq.session import LOST

from .conftest import a_session, run, until


def test_a_queue_is_declared_once_however_many_ask(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> list[str]:
        made: list[str] = []
        async with a_session(rabbitmq_url) as session:
            session.made = made.append
            await asyncio.gather(*(session.declare(schema.reports) for _ in range(10)))
            await session.declare(schema.reports)
            assert await session.is_there(schema.reports.name)
            await session.ask(lambda channel: channel.delete(schema.reports.name))
            assert not await session.is_there(schema.reports.name)
            await session.declare(schema.reports, anew=True)
            assert await session.is_there(schema.reports.name)
            await session.ask(lambda channel: channel.delete(schema.reports.name))
        return made

    assert run(main()) == [schema.reports.name] * 2


def test_a_question_that_failed_does_not_spoil_the_next(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        async with a_session(rabbitmq_url) as session:
            for _ in range(2):
                with pytest.raises(ChannelClosedByBroker):
                    await session.ask(lambda channel: channel.length("nowhere"))
            await session.ask(lambda channel: channel.declare(schema.reports.name))
            await session.ask(lambda channel: channel.delete(schema.reports.name))
            assert session.lost is None

    run(main())


def test_the_loss_of_either_connection_ends_it(rabbitmq_url: str) -> None:
    async def main() -> None:
        for n in range(2):
            async with a_session(rabbitmq_url) as session:
                connection = session._reading if n else session._writing
                connection._raw.close()
                await until(lambda: session.lost is not None)
                with pytest.raises(LOST):
                    await session.declare(Queue("tests.nowhere", {}))

    run(main())


def test_a_binding_is_forgotten_with_its_queue(rabbitmq_url: str) -> None:
    async def main() -> None:
        async with a_session(rabbitmq_url) as session:
            session.bound = {("one", "group", ""), ("other", "group", "")}
            session.declared = {"one", "other"}
            session.gone("one")
            assert session.bound == {("other", "group", "")}
            assert session.declared == {"other"}

    run(main())
