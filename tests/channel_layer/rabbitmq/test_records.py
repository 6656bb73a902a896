"""Tables that are kept as records on queues."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from channel_layer.rabbitmq import records
from channel_layer.rabbitmq.schema import Schema

from .conftest import a_session, run


def values(found: dict[str, records.Record]) -> dict[str, bytes | None]:
    return {key: record.value for key, record in found.items()}


def test_the_last_record_of_a_key_is_its_value_and_others_are_removed(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        async with a_session(rabbitmq_url) as session:
            said = [("a", b"1"), ("b", b"1"), ("a", b"2"), ("b", None), ("c", b"1"), ("d", None)]
            for key, value in said:
                await records.add(session, schema.reports, key, value, 60)
            for _ in range(2):
                assert values(await records.read(session, schema.reports, records.latest)) == {"a": b"2", "c": b"1"}
            assert (await session.ask(lambda channel: channel.length(schema.reports.name))).messages == 2
            await session.ask(lambda channel: channel.delete(schema.reports.name))

    run(main())


def test_readers_and_writers_at_the_same_time_lose_nothing(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        async with a_session(rabbitmq_url) as one, a_session(rabbitmq_url) as other:

            async def write(name: str) -> None:
                for n in range(50):
                    await records.add(one, schema.reports, f"{name}{n % 10}", b"%d" % n, 60)

            async def read() -> None:
                for _ in range(5):
                    await records.read(other, schema.reports, records.latest)

            await asyncio.gather(write("a"), write("b"), read(), read())
            found = values(await records.read(one, schema.reports, records.latest))
            assert found == {f"{name}{n}": b"%d" % (40 + n) for name in "ab" for n in range(10)}
            await one.ask(lambda channel: channel.delete(schema.reports.name))

    run(main())


def test_a_queue_that_was_removed_is_made_anew(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        async with a_session(rabbitmq_url) as session:
            for _ in range(2):
                await records.add(session, schema.reports, "a", b"1", 60)
                assert values(await records.read(session, schema.reports, records.latest)) == {"a": b"1"}
                await session.ask(lambda channel: channel.delete(schema.reports.name))
            assert await records.read(session, schema.reports, records.latest) == {}
            await session.ask(lambda channel: channel.delete(schema.reports.name))

    run(main())


def test_what_is_no_record_is_removed(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        async with a_session(rabbitmq_url) as session:
            await records.add(session, schema.reports, "a", b"1", 60)
            for foreign in (b"", b"\xc1", b"text", b"\x93\x01\x02\x03"):
                await session.publisher.publish(schema.reports.name, foreign)
            assert values(await records.read(session, schema.reports, records.latest)) == {"a": b"1"}
            while (await session.length(schema.reports)).messages != 1:  # the queue hears of the end of the read later
                pass
            await session.ask(lambda channel: channel.delete(schema.reports.name))

    run(main())


def test_a_reader_that_is_cancelled_locks_nobody_out(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        async with a_session(rabbitmq_url) as one, a_session(rabbitmq_url) as other:
            await records.add(one, schema.reports, "a", b"1", 60)
            for n in range(30):
                reading = asyncio.ensure_future(records.read(one, schema.reports, records.latest))
                for _ in range(n):
                    await asyncio.sleep(0)
                reading.cancel()
                await asyncio.wait([reading])
            assert values(await records.read(other, schema.reports, records.latest)) == {"a": b"1"}
            await one.ask(lambda channel: channel.delete(schema.reports.name))

    run(main())


def test_what_is_added_in_the_place_of_others_comes_before_they_go(rabbitmq_url: str, schema: Schema) -> None:
    def joined(found: Sequence[records.Record]) -> records.Folded[int]:
        every = b"".join(record.value or b"" for record in found)
        return records.Folded(len(found), set(), [records.Record("all", every, 0.0)])

    async def main() -> None:
        async with a_session(rabbitmq_url) as session:
            for n in range(3):
                await records.add(session, schema.reports, str(n), b"%d" % n, 60)
            assert await records.read(session, schema.reports, joined) == 3
            assert values(await records.read(session, schema.reports, records.latest)) == {"all": b"012"}
            await session.ask(lambda channel: channel.delete(schema.reports.name))

    run(main())


def test_who_only_looks_makes_no_queue(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        async with a_session(rabbitmq_url) as session:
            assert await records.read(session, schema.reports, records.latest, make=False) == {}
            assert not await session.is_there(schema.reports.name)
            await records.add(session, schema.reports, "a", b"1", 60)
            assert values(await records.read(session, schema.reports, records.latest, make=False)) == {"a": b"1"}
            await session.ask(lambda channel: channel.delete(schema.reports.name))
            assert await records.read(session, schema.reports, records.latest, make=False) == {}

    run(main())
