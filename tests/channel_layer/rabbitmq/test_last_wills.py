"""Tokens of processes, and the last wills behind them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

import pytest

from channel_layer.delivery import LastWill, Outgoing
from channel_layer.rabbitmq import last_wills, records
from channel_layer.rabbitmq.amqp import Got
from channel_layer.rabbitmq.engine import Engine
from channel_layer.rabbitmq.schema import FOREVER
from channel_layer.rabbitmq.sending import Sending
from channel_layer.rabbitmq.session import Session

from .conftest import PATIENCE, a_session, an_engine, run, until

LONG = 10 * PATIENCE
"""``presence`` of a process that is not to be missed, however slow the machine is: the test would end before."""


def will(engine: Engine, n: int, withdraws: bool = False) -> Outgoing:
    item = engine._layer.prepare("gone", {"n": n, "real": True}) if withdraws else Outgoing("gone", b"")
    item.last_will = LastWill(f"process!{n}", None if withdraws else engine._layer.prepare("gone", {"n": n}))
    return item


async def received(engine: Engine, timeout: float = 10) -> list[dict[str, object]]:
    return [dict(item.message) for item in await engine.receive(["gone"], 100, timeout, False)]


def test_a_connection_that_breaks_and_is_made_anew_in_time_changes_nothing(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        told: list[Collection[str]] = []
        async with an_engine(rabbitmq_url, prefix, presence=LONG) as engine:
            engine._layer.watch_last_wills("process!", told.append)
            await engine.send([will(engine, 1)])
            person, schema = engine._wills._persons["process!"], engine._schema
            life = person.life
            for _ in range(3):
                (await engine.session()).give_up()
                await engine.receive(["process!"], 1, 0.05, False)
                await until(lambda: {life, person.life} <= set(person.tokens) and not person.doubtful)
            session = await engine.session()
            for queue in (schema.grace("process!"), schema.chores):  # no token is left that could come to be due
                assert (await session.length(queue)).messages == 0
            await engine.send([will(engine, 1, withdraws=True)])
            assert await received(engine) == [{"n": 1, "real": True}]
            assert await records.read(session, schema.wills("process!", life), records.latest) == {}
            assert told == []
            await engine.flush()

    run(main())


def test_a_successor_knows_what_its_predecessor_left(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with (
            an_engine(rabbitmq_url, prefix, presence=LONG) as old,
            an_engine(rabbitmq_url, prefix, presence=LONG) as new,
        ):
            await old.send([will(old, 1), will(old, 2)])
            await old.stop_receiving(["process!"])
            await new.send([will(new, 3), will(new, 1, withdraws=True)])
            assert await received(new) == [{"n": 1, "real": True}]
            life, person = old._wills._persons["process!"].life, new._wills._persons["process!"]
            assert set(person.tokens) == {life, person.life}
            session, schema = await new.session(), new._schema
            for queue in (schema.grace("process!"), schema.chores):  # no token is left that could come to be due
                assert (await session.length(queue)).messages == 0
            assert list(await records.read(session, schema.wills("process!", life), records.latest)) == ["process!2"]
            await new.flush()

    run(main())


def test_what_a_predecessor_left_is_carried_out_when_its_successor_is_gone(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as other:
            async with an_engine(rabbitmq_url, prefix, presence=0.6) as old:
                await old.send([will(old, 1)])
                async with an_engine(rabbitmq_url, prefix, presence=0.6) as new:
                    await old.stop_receiving(["process!"])
                    await new.send([will(new, 2)])
            found: list[object] = []
            while len(found) < 2:
                found += [message["n"] for message in await received(other)]
            assert sorted(found) == [1, 2]  # type: ignore[type-var]
            assert await received(other, 0.5) == []
            await other.flush()

    run(main())


def test_an_engine_that_is_closed_while_it_carries_out_last_wills_loses_none(
    rabbitmq_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun = asyncio.Event()
    store = Sending.store

    async def slowly(sending: Sending, session: Session, target: str, frame: bytes) -> bool:
        has_begun.set()
        await asyncio.sleep(0.01)
        return await store(sending, session, target, frame)

    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as other:
            async with an_engine(rabbitmq_url, prefix, presence=0.6) as gone:
                await gone.send([will(gone, n) for n in range(12)])
            monkeypatch.setattr(Sending, "store", slowly)
            async with an_engine(rabbitmq_url, prefix, presence=0.6) as heir:
                receiving = asyncio.ensure_future(heir.receive(["nothing"], 1, 20, False))
                await has_begun.wait()
                receiving.cancel()
                await asyncio.wait([receiving])
            found: list[object] = []
            while len(found) < 12:
                found += [message["n"] for message in await received(other)]
            assert sorted(found) == [*range(12)]  # type: ignore[type-var]
            await other.flush()

    run(main())


def test_groups_pass_over_a_process_that_is_gone_until_it_comes_back(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as other, an_engine(rabbitmq_url, prefix, presence=0.5) as engine:
            await engine.memberships.add("group", "process!a")
            await engine.send([will(engine, 1)])
            await engine.receive(["process!"], 10, 0.05, False)
            assert engine._layer.index.members("process!", "group") == ("a",)
            assert await received(other) == [{"n": 1}]
            await until(lambda: is_empty(other))
            engine._wills._presence = LONG
            while await other.memberships.channels("group") != ["process!a"]:
                await engine.receive(["process!"], 10, 0.05, False)
            await other.send([other._layer.prepare("group", {"n": 2}, group=True)])
            found = await engine.receive(["process!"], 10, 10, False)
            assert [list(delivery.members or ()) for delivery in found] == [["a"]]
            await other.flush()

    async def is_empty(engine: Engine) -> bool:
        return await engine.memberships.channels("group") == []

    run(main())


def test_a_token_is_renewed_before_the_broker_minds(
    rabbitmq_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_wills, "RENEW_SECONDS", 0.05)

    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix, presence=LONG) as engine:
            await engine.send([will(engine, 1)])
            person = engine._wills._persons["process!"]
            first = dict(person.tokens)
            await until(lambda: person.tokens != first)
            assert set(person.tokens) == {person.life}
            session = await engine.session()
            assert (await session.length(engine._schema.grace("process!"))).messages == 0
            await engine.send([will(engine, 1, withdraws=True)])
            assert await received(engine) == [{"n": 1, "real": True}]
            await engine.flush()

    run(main())


def test_what_others_have_carried_out_meanwhile_is_not_sent_again(rabbitmq_url: str, prefix: str) -> None:
    """The broker may notice only late that a connection is gone, and the process goes on in another life until then."""

    async def main() -> None:
        told: list[Collection[str]] = []
        async with an_engine(rabbitmq_url, prefix) as other, an_engine(rabbitmq_url, prefix) as engine:
            engine._layer.watch_last_wills("process!", told.append)
            await engine.send([will(engine, 1), will(engine, 2)])
            person = engine._wills._persons["process!"]
            life, channel = person.life, person.channel
            assert channel is not None
            person.channel = None  # the connection counts as lost here, and not for the broker
            person.tokens.clear()
            await engine.send([will(engine, 2, withdraws=True)])
            assert person.doubtful == {life}
            assert await received(other) == [{"n": 2, "real": True}]
            await engine._wills.carry_out(await other.session(), records.pack(("process!", life)))
            assert await received(other) == [{"n": 1}]
            await (await engine.session()).keep()
            await engine.send([will(engine, 1, withdraws=True)])
            while person.doubtful:  # it is found out while this process receives
                await engine.receive(["process!"], 1, 0.1, False)
            assert await received(other, 0) == []
            assert [set(names) for names in told] in ([], [{"1"}])
            await other.flush()

    run(main())


def test_a_token_comes_to_the_newest_connection_though_the_broker_takes_an_old_one_for_alive(
    rabbitmq_url: str, prefix: str
) -> None:
    async def main() -> None:
        async with a_session(rabbitmq_url) as broken, an_engine(rabbitmq_url, prefix) as engine:
            await engine.send([will(engine, 1)])
            channel = await broken.channel()
            for queue in (engine._schema.token("process!"), engine._schema.grace("process!")):
                await channel.consume(queue.name, lambda _: None)  # so that its turn is next
            (await engine.session()).give_up()
            assert (await engine.send([will(engine, 2)])).error is None
            await engine.flush()

    run(main())


FAR = 2**62
"""A priority that no consumer of the layer has: that of a process which has begun to receive a moment later."""


def test_a_late_token_that_a_newer_process_has_taken_is_left_to_it(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with a_session(rabbitmq_url) as newer, an_engine(rabbitmq_url, prefix) as engine:
            await engine.send([will(engine, 1)])
            person, schema = engine._wills._persons["process!"], engine._schema
            newer_channel, taken = await newer.channel(), asyncio.Queue[Got]()
            await newer_channel.consume(schema.token("process!").name, taken.put_nowait, priority=FAR)
            late = records.pack(("process!", "late"))
            await newer.publisher.publish(schema.grace("process!").name, late, kind=last_wills.TOKEN)
            assert (await taken.get()).body == late
            await until(lambda: not engine._tasks)
            assert set(person.tokens) == {person.life}
            assert (await engine.send([will(engine, 2)])).error is None
            await engine.stop_receiving(["process!"])
            assert (await newer.length(schema.grace("process!"))).messages == 1  # and not the other one
            await engine.flush()

    run(main())


def test_a_process_whose_own_token_a_newer_one_has_taken_says_so_and_is_tried_again(
    rabbitmq_url: str, prefix: str
) -> None:
    async def main() -> None:
        async with a_session(rabbitmq_url) as newer, an_engine(rabbitmq_url, prefix) as engine:
            for queue in (engine._schema.grace("process!"), engine._schema.token("process!")):
                await newer.declare(queue)
            channel = await newer.channel()
            await channel.consume(engine._schema.token("process!").name, lambda _: None, priority=FAR)
            session = await engine.session()
            item = will(engine, 1)
            sent = await engine.send([item])
            assert sent.outcome.unsent == [item]
            assert str(sent.error) == "another process has begun to receive what comes for process!"
            assert await engine.session() is session
            await channel.close()
            assert (await engine.send([will(engine, 1)])).error is None
            await engine.flush()

    run(main())


def test_what_was_left_with_a_token_that_an_older_process_has_published_is_known(
    rabbitmq_url: str, prefix: str
) -> None:
    async def main() -> None:
        async with a_session(rabbitmq_url) as older, an_engine(rabbitmq_url, prefix) as engine:
            await engine.send([will(engine, 2)])
            person, schema = engine._wills._persons["process!"], engine._schema
            frame = engine._sending.encoded(engine._layer.prepare("gone", {"n": 1}))
            left = schema.wills("process!", "before")
            await records.add(older, left, "process!1", records.pack(("gone", frame)), FOREVER)
            token = records.pack(("process!", "before"))
            await older.publisher.publish(schema.token("process!").name, token, kind=last_wills.TOKEN)
            await until(lambda: "process!1" in person.wills)
            await engine.send([will(engine, 1, withdraws=True)])
            assert await received(engine) == [{"n": 1, "real": True}]
            assert await records.read(older, left, records.latest) == {}
            await engine.flush()

    run(main())


def test_a_token_comes_to_the_newest_connection_though_the_clock_was_set_back(
    rabbitmq_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with a_session(rabbitmq_url) as broken, an_engine(rabbitmq_url, prefix) as engine:
            await engine.send([will(engine, 1)])
            channel, before = await broken.channel(), time.time_ns() // 1_000_000 - 60_000
            for queue in (engine._schema.token("process!"), engine._schema.grace("process!")):
                await channel.consume(queue.name, lambda _: None, priority=before)
            monkeypatch.setattr(time, "time_ns", lambda: (before - 60_000) * 1_000_000)
            (await engine.session()).give_up()
            assert (await engine.send([will(engine, 2)])).error is None
            await engine.flush()

    run(main())


def test_a_last_will_that_is_put_in_force_again_lies_where_it_will_be_carried_out(
    rabbitmq_url: str, prefix: str
) -> None:
    """Others may have the life that it was left in, and remove that before they could see it."""

    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix, capacity=1) as engine:
            await engine.send([will(engine, 1)])
            person = engine._wills._persons["process!"]
            doubted = person.life
            person.channel = None  # the connection counts as lost here, and not for the broker
            person.tokens.clear()
            await engine.send([engine._layer.prepare("gone", {"n": 0})])
            sent = await engine.send([will(engine, 1, withdraws=True)])
            assert len(sent.outcome.refused) == 1
            assert person.doubtful == {doubted}
            queue = engine._schema.wills("process!", person.life)
            assert list(await records.read(await engine.session(), queue, records.latest)) == ["process!1"]
            await engine.flush()

    run(main())


@pytest.mark.slow
def test_records_of_wills_do_not_pile_up(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            for n in range(700):
                await engine.send([will(engine, n), will(engine, n, withdraws=True)])
                await engine.receive(["gone"], 10, 10, False)
            person = engine._wills._persons["process!"]
            session = await engine.session()
            queue = engine._schema.wills("process!", person.life).name
            assert (await session.ask(lambda channel: channel.length(queue))).messages < 1000
            await engine.flush()

    run(main())
