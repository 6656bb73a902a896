"""Connections and AMQP channels of pika as awaitables."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from channel_layer.rabbitmq import amqp
from channel_layer.rabbitmq.amqp import AMQPError, ChannelClosedByBroker, Connection, Got, Properties, parameters
from channel_layer.rabbitmq.schema import Schema
from tests.conftest import free_port

from .conftest import Opened, connected, give_up, run, stopped_at_every_step, until


def test_messages_are_taken_in_hand_and_given_back_to_their_places(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        async with connected(rabbitmq_url) as connection:
            one, other = await connection.channel(), await connection.channel()
            queue = schema.reports.name
            await one.declare(queue)
            for n in range(3):
                one.publish("", queue, b"%d" % n, Properties(), mandatory=True)
            found: list[Got] = []
            consumer = await other.consume(queue, found.append)
            assert (await other.length(queue)).messages == 0
            assert [got.body for got in found] == [b"0", b"1", b"2"]
            await other.cancel(consumer)
            other.ack(found[0].tag)
            other.give_back(found[2].tag, multiple=True)
            got = await other.get(queue)
            assert got is not None
            assert got.body == b"1"
            await other.close()
            while (await one.length(queue)).messages != 2:  # the queue hears of it a moment later
                pass
            await one.delete(queue)

    run(main())


def test_a_get_from_an_empty_queue_is_none(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        async with connected(rabbitmq_url) as connection:
            channel = await connection.channel()
            await channel.declare(schema.reports.name)
            assert await asyncio.gather(*(channel.get(schema.reports.name) for _ in range(3))) == [None] * 3
            await channel.delete(schema.reports.name)

    run(main())


def test_what_the_broker_refuses_fails_the_call_and_all_that_follow(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        async with connected(rabbitmq_url) as connection:
            channel = await connection.channel()
            for _ in range(2):
                with pytest.raises(ChannelClosedByBroker) as caught:
                    await channel.length(schema.reports.name)
                assert caught.value.reply_code == 404
            assert not channel.is_open
            assert connection.is_open

    run(main())


def test_to_end_a_consumer_that_the_broker_has_ended_is_no_error(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        async with connected(rabbitmq_url) as connection:
            channel, admin = await connection.channel(), await connection.channel()
            told: asyncio.Queue[str] = asyncio.Queue()
            channel.cancelled = told.put_nowait
            await channel.declare(schema.reports.name)
            consumer = await channel.consume(schema.reports.name, lambda _: None)
            await admin.delete(schema.reports.name)
            assert await told.get() == consumer
            await channel.cancel(consumer)

    run(main())


def test_calls_that_wait_for_a_connection_that_is_given_up_fail(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        async with connected(rabbitmq_url) as connection:
            channel = await connection.channel()
            asking = asyncio.ensure_future(channel.declare(schema.reports.name))
            await asyncio.sleep(0)
            connection.give_up(TimeoutError("gone"))
            with pytest.raises(TimeoutError, match="gone"):
                await asking
            with pytest.raises(TimeoutError, match="gone"):
                channel.publish("", "somewhere", b"", Properties(), mandatory=True)

    run(main())


def test_nobody_there_is_an_error() -> None:
    async def main() -> None:
        with pytest.raises(AMQPError):
            await Connection.connect(parameters(f"amqp://127.0.0.1:{free_port()}/", 5, 10, "tests"), 5)

    run(main())


def test_a_connection_that_is_given_up_while_it_is_made_leaves_no_socket(rabbitmq_url: str, opened: Opened) -> None:
    async def stop(making: asyncio.Task[Connection]) -> None:
        await give_up(making)
        assert opened.left() == []

    run(stopped_at_every_step(lambda: Connection.connect(parameters(rabbitmq_url, 10, 10, "tests"), 10), stop))


def test_consumers_with_a_higher_priority_get_messages_first(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        async with connected(rabbitmq_url) as connection:
            channel = await connection.channel()
            queue = schema.reports.name
            await channel.declare(queue)
            old: list[Got] = []
            new: asyncio.Queue[Got] = asyncio.Queue()
            await channel.consume(queue, old.append, priority=1)
            await channel.consume(queue, new.put_nowait, priority=time.time_ns())
            for n in range(4):
                channel.publish("", queue, b"%d" % n, Properties(), mandatory=True)
            assert [(await new.get()).body for _ in range(4)] == [b"0", b"1", b"2", b"3"]
            assert old == []
            await channel.delete(queue)

    run(main())


def test_the_broker_tells_its_version(rabbitmq_url: str) -> None:
    async def main() -> None:
        async with connected(rabbitmq_url) as connection:
            assert int(connection.version.split(".")[0]) >= 3

    run(main())


def test_a_broker_that_does_not_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch, rabbitmq_url: str) -> None:
    monkeypatch.setattr(amqp, "CLOSE_SECONDS", 0.05)

    async def main() -> None:
        connection = await Connection.connect(parameters(rabbitmq_url, 10, 10, "tests"), 10)
        monkeypatch.setattr(connection._raw, "_send_connection_close", lambda *_: None)  # the broker hears of nothing
        await connection.close()
        assert connection.is_closed

    run(main())


class Silent:
    """An AMQP channel of pika, on which the test answers."""

    is_open = True

    def __init__(self) -> None:
        self.answers: list[Callable[[object], None]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None

    def queue_declare(self, *_: object, callback: Callable[[object], None], **__: object) -> None:
        self.answers.append(callback)


def test_a_queue_is_slow_from_when_it_is_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amqp, "SLOW_SECONDS", 0.02)

    async def main() -> None:
        raw: Any = Silent()
        channel = amqp.Channel(raw, asyncio.get_running_loop())
        told: list[str] = []
        channel.slow = lambda name, _: told.append(name)
        asking = [asyncio.create_task(channel.declare(name)) for name in ("one", "other", "quick")]
        await until(lambda: told)
        await asyncio.sleep(0.1)
        assert told == ["one"], "the broker has not come to the other"
        raw.answers[0](None)
        await until(lambda: len(told) > 1)
        raw.answers[1](None)
        raw.answers[2](None)
        await asyncio.gather(*asking)
        await asyncio.sleep(0.05)
        assert told == ["one", "other"]

    run(main())
