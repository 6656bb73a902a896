"""The broker's answers to what was sent."""

from __future__ import annotations

import asyncio

import pytest

from channel_layer.rabbitmq.publisher import Answer, BrokerBlocked, Publisher
from channel_layer.rabbitmq.schema import Schema

from .conftest import connected, run


def test_each_message_has_an_answer_of_its_own(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> list[Answer]:
        async with connected(rabbitmq_url) as connection:
            admin = await connection.channel()
            queue = schema.main("small", 2)
            await admin.declare(queue.name, queue.arguments)
            publisher = await Publisher.on(await connection.channel(), connection)
            answers = [publisher.publish(name, b"") for name in (queue.name, "nowhere", queue.name, queue.name)]
            found = list(await asyncio.gather(*answers))
            await admin.delete(queue.name)
            return found

    assert run(main()) == [Answer.STORED, Answer.NO_QUEUE, Answer.STORED, Answer.REFUSED]


def test_an_exchange_without_bindings_takes_messages_for_nobody(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> Answer:
        async with connected(rabbitmq_url) as connection:
            await (await connection.channel()).declare_exchange(schema.groups, "direct")
            publisher = await Publisher.on(await connection.channel(), connection)
            return await publisher.publish("nobody", b"", exchange=schema.groups)

    assert run(main()) is Answer.STORED


def test_answers_fail_with_the_connection(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        async with connected(rabbitmq_url) as connection:
            publisher = await Publisher.on(await connection.channel(), connection)
            answer = publisher.publish("somewhere", b"")
            connection.give_up(TimeoutError("frozen"))
            with pytest.raises(TimeoutError, match="frozen"):
                await answer

    run(main())


def test_nothing_is_sent_to_a_broker_that_takes_nothing(rabbitmq_url: str) -> None:
    async def main() -> None:
        async with connected(rabbitmq_url) as connection:
            publisher = await Publisher.on(await connection.channel(), connection)
            waiting = publisher.publish("somewhere", b"")
            connection.blocked = "low on disk"
            with pytest.raises(BrokerBlocked, match="low on disk"):
                publisher.publish("somewhere", b"")
            publisher.give_up()
            with pytest.raises(BrokerBlocked):
                await waiting

    run(main())
