"""Receiving: who gets what, and what becomes of the rest."""

from __future__ import annotations

import asyncio

from channel_layer.conformance.tools import numbers
from channel_layer.rabbitmq.engine import Engine

from .conftest import an_engine, run, until


async def send(engine: Engine, channel: str, count: int) -> None:
    sent = await engine.send([engine._layer.prepare(channel, {"n": n}) for n in range(count)])
    assert sent.error is None


def test_what_a_cancelled_receive_had_taken_is_there_for_the_next_one(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            await send(engine, "work", 3)
            for _ in range(10):
                receiving = asyncio.ensure_future(engine.receive(["work"], 2, 10, False))
                subscription = None
                while subscription is None or subscription.held in (0, 3):
                    await asyncio.sleep(0)
                    subscription = engine.receiver.in_hand("work")
                    if subscription is not None and receiving.done():
                        break
                receiving.cancel()
                await asyncio.wait([receiving])
                if not receiving.cancelled():
                    break
            taken = [] if receiving.cancelled() else numbers(receiving.result())
            while len(taken) < 3:
                taken += numbers(await engine.receive(["work"], 5, 10, False))
            assert taken == [0, 1, 2]
            await engine.flush()

    run(main())


def test_who_takes_one_message_leaves_the_others_at_once(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine, an_engine(rabbitmq_url, prefix) as other:
            await send(engine, "work", 3)
            assert numbers(await engine.receive(["work"], 1, 10, False)) == [0]
            assert numbers(await other.receive(["work"], 1, 0, False)) == [1]
            await engine.flush()

    run(main())


def test_who_is_busy_for_long_leaves_what_it_has_in_hand(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine, an_engine(rabbitmq_url, prefix) as other:
            await send(engine, "work", 20)
            first = numbers(await engine.receive(["work"], 5, 10, False))
            seen: list[int] = []
            while len(seen) < 20 - len(first):
                seen += numbers(await other.receive(["work"], 20, 10, False))
            assert first == list(range(len(first)))
            assert sorted(first + seen) == list(range(20))
            await engine.flush()

    run(main())


def test_several_receives_of_one_channel_get_each_message_once(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            waiting = [asyncio.ensure_future(engine.receive(["process!"], 3, 10, False)) for _ in range(4)]
            await send(engine, "process!a", 12)
            seen: list[int] = []
            for receiving in waiting:
                seen += numbers(await receiving)
            while len(seen) < 12:
                seen += numbers(await engine.receive(["process!"], 12, 10, False))
            assert sorted(seen) == list(range(12))
            await engine.flush()

    run(main())


def test_channels_that_are_used_once_leave_nothing_behind(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            for n in range(3):
                await send(engine, f"body?{n}", 1)
                assert numbers(await engine.receive([f"body?{n}"], 10, 10, False)) == [0]
            await until(lambda: not any(engine.receiver.in_hand(f"body?{n}") for n in range(3)))
            await engine.flush()

    run(main())


def test_who_receives_while_all_is_removed_goes_on(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine, an_engine(rabbitmq_url, prefix) as other:
            await send(engine, "process!a", 1)
            assert numbers(await engine.receive(["process!"], 5, 10, False)) == [0]
            receiving = asyncio.ensure_future(engine.receive(["process!"], 5, 20, False))
            await until(lambda: engine.receiver.in_hand("process!").is_active)  # type: ignore[union-attr]
            await other.flush()
            await send(other, "process!a", 1)
            assert numbers(await receiving) == [0]
            await other.flush()

    run(main())


def test_a_receive_that_is_cancelled_at_any_moment_leaves_the_messages_to_others(
    rabbitmq_url: str, prefix: str
) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine, an_engine(rabbitmq_url, prefix) as other:
            await send(engine, "work", 40)
            seen: list[int] = []
            for n in range(40):
                receiving = asyncio.ensure_future(engine.receive(["work"], 1 + n % 2, 10, False))
                for _ in range(n):
                    await asyncio.sleep(0)
                receiving.cancel()
                await asyncio.wait([receiving])
                if not receiving.cancelled():
                    seen += numbers(receiving.result())
            while len(seen) < 40:
                seen += numbers(await other.receive(["work"], 10, 10, False))
            assert sorted(seen) == list(range(40))
            assert engine._layer.counters.possible_losses == 0
            await other.flush()

    run(main())


def test_what_other_programs_put_on_a_queue_costs_no_message_beside_it(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            await send(engine, "process!a", 1)
            session, queue = await engine.session(), engine._schema.main("process!", 1).name
            publish = session.publisher.publish
            await publish(queue, b"\xff\xfe", kind="forget")
            await publish(queue, b"nothing", kind="of another version")
            await publish(queue, b"\x94\x01\xc1", headers={"expires": "soon"})
            await publish(queue, b"", headers={"expires": 1})
            await send(engine, "process!a", 2)
            taken: list[int] = []
            while len(taken) < 3:
                taken += numbers(await engine.receive(["process!"], 10, 10, False))
            assert taken == [0, 0, 1]
            assert engine._layer.counters.bad_frames >= 3
            await engine.flush()

    run(main())
