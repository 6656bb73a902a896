"""What a process has in hand of a channel."""

from __future__ import annotations

import asyncio

from channel_layer.rabbitmq.schema import Schema
from channel_layer.rabbitmq.session import Session
from channel_layer.rabbitmq.subscription import Subscription

from .conftest import a_session, run


async def put(session: Session, name: str, *bodies: bytes) -> None:
    await asyncio.gather(*(session.publisher.publish(name, body) for body in bodies))


def test_the_front_comes_first_and_what_is_given_back_keeps_its_place(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        front, main = schema.front("work"), schema.main("work", 10)
        async with a_session(rabbitmq_url) as session:
            for queue in (front, main):
                await session.declare(queue)
            await put(session, main.name, b"3", b"4", b"5")
            await put(session, front.name, b"1", b"2")
            one = Subscription(front, main, lambda: None)
            await one.begin(session, 10)
            await one.settle()
            assert one.held == 5
            taken, unproven = one.take(3)
            await one.prove()
            assert ([got.body for got in taken], unproven) == ([b"1", b"2", b"3"], True)
            one.take_back(taken[2:])
            assert one.oldest == taken[2]
            assert one.take(1) == (taken[2:], False)
            assert await one.pause() == []
            assert not one.is_active
            other = Subscription(front, main, lambda: None)
            await other.begin(session, 10)
            await other.settle()
            assert [got.body for got in other.take(10)[0]] == [b"4", b"5"]
            await other.prove()
            for queue in (front, main):
                await session.ask(lambda channel, name=queue.name: channel.delete(name))  # type: ignore[misc]

    run(main())


def test_what_was_taken_back_is_left_to_the_one_who_pauses(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        front, main = schema.front("work"), schema.main("work", 10)
        async with a_session(rabbitmq_url) as session:
            for queue in (front, main):
                await session.declare(queue)
            await put(session, main.name, b"1", b"2")
            one = Subscription(front, main, lambda: None)
            await one.begin(session, 10)
            await one.settle()
            taken, _ = one.take(1)
            await one.prove()
            one.take_back(taken)
            assert await one.pause() == taken
            assert (await session.ask(lambda channel: channel.length(main.name))).messages == 1
            for queue in (front, main):
                await session.ask(lambda channel, name=queue.name: channel.delete(name))  # type: ignore[misc]

    run(main())


def test_it_goes_on_when_its_queue_was_removed(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        front, main = schema.front("work"), schema.main("work", 10)
        async with a_session(rabbitmq_url) as session:
            told = asyncio.Event()
            one = Subscription(front, main, told.set)
            for paused in (True, False):
                await one.begin(session, 10)
                if paused:
                    await one.pause()
                    told.clear()
                await session.ask(lambda channel: channel.delete(main.name))
                if not paused:
                    await told.wait()
                await one.begin(session, 10)
                await put(session, main.name, b"1")
                await one.settle()
                assert [got.body for got in one.take(10)[0]] == [b"1"]
                await one.prove()
                told.clear()
            for queue in (front, main):
                await session.ask(lambda channel, name=queue.name: channel.delete(name))  # type: ignore[misc]

    run(main())
