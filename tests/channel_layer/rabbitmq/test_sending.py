"""Batches: order, refusals, and the fate of each message."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from channel_layer.conformance.tools import numbers
from channel_layer.rabbitmq.engine import Engine
from channel_layer.rabbitmq.publisher import Answer
from channel_layer.rabbitmq.session import Session

from .conftest import an_engine, run


async def drained(engine: Engine, channel: str, count: int) -> list[int]:
    taken: list[int] = []
    while len(taken) < count:
        taken += numbers(await engine.receive([channel], 100, 10, False))
    return taken


def test_a_batch_that_finds_little_room_keeps_its_order_though_readers_make_some(
    rabbitmq_url: str, prefix: str
) -> None:
    async def main() -> None:
        options = {"capacity": 8}
        async with (
            an_engine(rabbitmq_url, prefix, **options) as sender,
            an_engine(rabbitmq_url, prefix, **options) as reader,
        ):
            items = [sender._layer.prepare("work", {"n": n}) for n in range(60)]
            reading = asyncio.ensure_future(drained(reader, "work", 60))
            left = items
            while left:
                sent = await sender.send(left)
                assert sent.error is None
                refused = list(sent.outcome.refused)
                assert refused == left[len(left) - len(refused) :]
                left = refused
            assert await reading == list(range(60))
            await sender.flush()

    run(main())


def test_a_queue_that_was_removed_is_made_anew_and_nothing_lost(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            await engine.send([engine._layer.prepare("work", {"n": 0})])
            session: Session = await engine.session()
            await session.ask(lambda channel: channel.delete(engine._schema.main("work", 1).name))
            sent = await engine.send([engine._layer.prepare("work", {"n": n}) for n in range(3)])
            assert (sent.error, list(sent.outcome.refused)) == (None, [])
            assert await drained(engine, "work", 3) == [0, 1, 2]
            await engine.flush()

    run(main())


def test_what_could_not_be_sent_is_told_from_what_may_have_been(
    rabbitmq_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            items = [engine._layer.prepare(name, {"n": 0}) for name in ("one", "other")]
            await engine.send(items)
            session = await engine.session()
            publish = session.publisher.publish

            def lost_behind_the_first(key: str, *arguments: Any, **options: Any) -> asyncio.Future[Answer]:
                answer = publish(key, *arguments, **options)
                if key == engine._schema.main("one", 1).name:
                    session.give_up()  # at once: a fast broker may have answered when the loop runs again
                return answer

            monkeypatch.setattr(session.publisher, "publish", lost_behind_the_first)
            sent = await engine.send(items)
            assert sent.error is not None
            assert (list(sent.outcome.unknown), list(sent.outcome.unsent)) == (items[:1], items[1:])
            await engine.flush()

    run(main())
