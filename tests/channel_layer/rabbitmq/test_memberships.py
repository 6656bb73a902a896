"""Bindings and rosters of groups."""

from __future__ import annotations

from functools import partial

import pytest

from channel_layer.rabbitmq import memberships
from channel_layer.rabbitmq.engine import Engine

from .conftest import an_engine, run, until


async def heard(engine: Engine, *expected: str) -> None:
    """Receive until the members of ``process!`` in ``group`` are these."""
    while set(engine._layer.index.members("process!", "group")) != set(expected):
        await engine.receive(["process!"], 10, 0.05, False)


def bindings(engine: Engine) -> set[str]:
    assert engine._current is not None
    bound = engine._current.bound
    return {lease for queue, group, lease in bound if queue.endswith("process!") and group == "group"}


async def is_alone(engine: Engine, channel: str) -> bool:
    return await engine.memberships.channels("group") == [channel]


def test_the_reader_keeps_a_binding_of_its_own_until_the_last_member_leaves(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as reader, an_engine(rabbitmq_url, prefix) as other:
            for channel in ("process!a", "process!b"):
                await other.memberships.add("group", channel)
            await heard(reader, "a", "b")
            await until(lambda: len(bindings(reader)) == 1)
            await other.memberships.discard("group", "process!a")
            await heard(reader, "b")
            assert len(bindings(reader)) == 1
            await other.memberships.discard("group", "process!b")
            await heard(reader)
            await until(lambda: not bindings(reader))
            await reader.flush()

    run(main())


def test_bindings_of_others_are_removed_when_nobody_relies_on_them(
    rabbitmq_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as reader, an_engine(rabbitmq_url, prefix) as other:
            await other.memberships.add("group", "process!a")
            await heard(reader, "a")
            await reader.memberships.prune()
            assert reader.memberships._of_others
            monkeypatch.setattr(memberships, "PRUNE_SECONDS", 0)
            await reader.memberships.prune()
            assert not reader.memberships._of_others
            await other.send([other._layer.prepare("group", {"n": 1}, group=True)])
            found = await reader.receive(["process!"], 10, 10, False)
            assert [list(delivery.members or ()) for delivery in found] == [["a"]]
            await reader.flush()

    run(main())


def test_a_channel_that_is_forgotten_before_its_process_heard_of_it_is_no_member(
    rabbitmq_url: str, prefix: str
) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as reader, an_engine(rabbitmq_url, prefix) as other:
            await other.memberships.add("group", "process!gone")
            await other.memberships.add("group", "process!kept")
            await reader.memberships.forget(["process!gone"])
            await heard(reader, "kept")
            await until(partial(is_alone, other, "process!kept"))
            await reader.flush()

    run(main())


def test_members_of_a_process_that_is_gone_are_not_named(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            for channel in ("process!a", "other!a", "plain"):
                await engine.memberships.add("group", channel)
            session = await engine.session()
            await session.ask(lambda channel: channel.delete(engine._schema.main("other!", 1).name))
            assert sorted(await engine.memberships.channels("group")) == ["plain", "process!a"]
            await engine.flush()

    run(main())


def test_a_member_joins_a_process_whose_queue_is_full(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix, capacity=1) as engine:
            await engine.send([engine._layer.prepare("process!a", {"n": 1})])
            await engine.memberships.add("group", "process!a")
            assert len(await engine.receive(["process!"], 10, 10, False)) == 1
            assert engine._layer.index.members("process!", "group") == ("a",)
            await engine.flush()

    run(main())


def test_who_leaves_and_comes_back_at_once_gets_messages(
    rabbitmq_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process removes its binding with the last member; one that comes meanwhile must not lose it."""
    monkeypatch.setattr(memberships, "PRUNE_SECONDS", 0)

    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as reader, an_engine(rabbitmq_url, prefix) as other:
            await other.memberships.add("group", "process!0")
            await heard(reader, "0")
            for n in range(30):
                await other.memberships.discard("group", f"process!{n}")
                await other.memberships.add("group", f"process!{n + 1}")
                await heard(reader, str(n + 1))
                await reader.memberships.prune()
                await other.send([other._layer.prepare("group", {"n": n}, group=True)])
                found = await reader.receive(["process!"], 10, 10, False)
                assert [list(delivery.members or ()) for delivery in found] == [[str(n + 1)]]
            await reader.flush()

    run(main())


def test_an_ordinary_channel_whose_queue_was_removed_can_be_added_again(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            for n in range(2):
                await engine.memberships.add("group", "plain")
                await engine.send([engine._layer.prepare("group", {"n": n}, group=True)])
                assert len(await engine.receive(["plain"], 10, 10, False)) == 1
                session = await engine.session()
                await session.ask(lambda channel: channel.delete(engine._schema.main("plain", 1).name))
            await engine.flush()

    run(main())


def test_members_are_put_back_after_a_loss_though_others_have_made_the_queue_anew(
    rabbitmq_url: str, prefix: str
) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as reader, an_engine(rabbitmq_url, prefix) as other:
            await other.memberships.add("group", "process!a")
            await heard(reader, "a")
            session = await other.session()
            for queue in (reader._schema.main("process!", 1).name, reader._schema.roster("group").name):
                await session.ask(lambda channel, name=queue: channel.delete(name))  # type: ignore[misc]
                session.gone(queue)
            (await reader.session()).give_up()
            await other.send([other._layer.prepare("process!a", {"n": 1})])
            assert len(await reader.receive(["process!"], 10, 10, False)) == 1
            await until(partial(is_alone, other, "process!a"))
            await other.send([other._layer.prepare("group", {"n": 2}, group=True)])
            assert len(await reader.receive(["process!"], 10, 10, False)) == 1
            await reader.flush()

    run(main())
