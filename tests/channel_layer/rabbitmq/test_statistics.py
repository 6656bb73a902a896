"""Numbers that all processes add to."""

from __future__ import annotations

import pytest

from channel_layer.rabbitmq import records

from .conftest import an_engine, run, until


def test_what_processes_count_is_added_up(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as one, an_engine(rabbitmq_url, prefix) as other:
            for _ in range(3):
                one.counts.add("a", 1, 0)
                other.counts.add("a", 1, 1)
                other.counts.add("b", 1, 0)
                await one.counts.write()
                await other.counts.write()
            for _ in range(2):
                found = await one.counts.total("a")
                assert (found["messages_count"], found["channel_full_count"]) == (6, 3)
                assert (await one.counts.total(None))["messages_count"] == 9
            session = await one.session()
            assert (await session.ask(lambda channel: channel.length(one._schema.counts.name))).messages == 1
            await one.flush()

    run(main())


def test_records_are_added_up_before_they_are_many(
    rabbitmq_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "COMPACT_LEAST", 4)

    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            for _ in range(12):
                engine.counts.add("a", 1, 0)
                await engine.counts.write()
            session = await engine.session()

            async def are_few() -> bool:
                return (await session.length(engine._schema.counts)).messages < 5

            await until(are_few)
            assert (await engine.counts.total("a"))["messages_count"] == 12
            await engine.flush()

    run(main())


def test_what_was_counted_before_a_flush_is_dropped(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as one, an_engine(rabbitmq_url, prefix) as other:
            one.counts.add("a", 5, 0)
            await other.flush()
            await one.counts.write()
            one.counts.add("a", 1, 0)
            await one.counts.write()
            assert (await other.counts.total("a"))["messages_count"] == 1
            await one.flush()

    run(main())
