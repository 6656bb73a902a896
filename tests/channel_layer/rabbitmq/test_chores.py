"""What is due for anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from channel_layer.rabbitmq import chores
from channel_layer.rabbitmq.chores import Chores
from channel_layer.rabbitmq.schema import Schema
from channel_layer.rabbitmq.session import Session

from .conftest import a_session, run


def test_a_chore_is_done_once_and_one_that_was_left_by_another(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        done: asyncio.Queue[bytes] = asyncio.Queue()
        never = asyncio.Event()
        tasks: set[asyncio.Future[object]] = set()

        async def do(session: Session, body: bytes) -> None:
            done.put_nowait(body)

        async def begin(session: Session, body: bytes) -> None:
            done.put_nowait(body)
            await never.wait()

        def background(work: Awaitable[object]) -> None:
            tasks.add(asyncio.ensure_future(work))

        async with a_session(rabbitmq_url) as writer:
            async with a_session(rabbitmq_url) as session:
                chores = Chores(schema, {"kind": begin}, background)
                await chores.begin(session)
                await chores.begin(session)
                await writer.publisher.publish(schema.chores.name, b"1", kind="kind")
                assert await done.get() == b"1"
            other = Chores(schema, {"kind": do}, background)
            await other.begin(writer)
            assert await done.get() == b"1"
            await writer.publisher.publish(schema.chores.name, b"unknown", kind="of another version")
            await writer.publisher.publish(schema.chores.name, b"2", kind="kind")
            assert await done.get() == b"2"
            assert done.empty()
            await writer.ask(lambda channel: channel.delete(schema.chores.name))
        for task in tasks:
            task.cancel()

    run(main())


def test_a_chore_that_fails_is_done_later_and_one_that_cannot_be_read_is_dropped(
    rabbitmq_url: str, schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chores, "RETRY_SECONDS", 0.01)

    async def main() -> None:
        done: asyncio.Queue[bytes] = asyncio.Queue()
        failures = [RuntimeError("no"), RuntimeError("again")]
        tasks: set[asyncio.Future[object]] = set()

        async def do(session: Session, body: bytes) -> None:
            if body == b"unreadable":
                raise ValueError(body)
            if failures:
                raise failures.pop()
            done.put_nowait(body)

        def background(work: Awaitable[object]) -> None:
            tasks.add(asyncio.ensure_future(work))

        async with a_session(rabbitmq_url) as session:
            await Chores(schema, {"kind": do}, background).begin(session)
            for _ in range(chores.AT_ONCE + 1):
                await session.publisher.publish(schema.chores.name, b"unreadable", kind="kind")
            await session.publisher.publish(schema.chores.name, b"1", kind="kind")
            assert await done.get() == b"1"
            await session.ask(lambda channel: channel.delete(schema.chores.name))
        failed = [task.exception() for task in tasks if task.done()]
        assert sum(isinstance(error, RuntimeError) for error in failed) == 2

    run(main())
