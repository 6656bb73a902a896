"""Two connections, and what is known while they last."""

from __future__ import annotations

import asyncio

import pytest

from channel_layer.rabbitmq import session as module
from channel_layer.rabbitmq.amqp import ChannelClosedByBroker, ConnectionClosed, parameters
from channel_layer.rabbitmq.schema import Queue, Schema
from channel_layer.rabbitmq.session import LOST, Session, permits_transient

from .conftest import Opened, a_session, give_up, run, stopped_at_every_step, until


def test_a_queue_is_declared_once_however_many_ask(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> list[str]:
        made: list[str] = []
        async with a_session(rabbitmq_url) as session:
            session.made = made.append
            await asyncio.gather(*(session.declare(schema.reports) for _ in range(10)))
            await session.declare(schema.reports)
            assert await session.is_there(schema.reports.name)
            await session.ask(lambda channel: channel.delete(schema.reports.name))
            assert not await session.is_there(schema.reports.name)
            await session.declare(schema.reports, anew=True)
            assert await session.is_there(schema.reports.name)
            await session.ask(lambda channel: channel.delete(schema.reports.name))
        return made

    assert run(main()) == [schema.reports.name] * 2


def test_a_question_that_failed_does_not_spoil_the_next(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        async with a_session(rabbitmq_url) as session:
            for _ in range(2):
                with pytest.raises(ChannelClosedByBroker):
                    await session.ask(lambda channel: channel.length("nowhere"))
            await session.ask(lambda channel: channel.declare(schema.reports.name))
            await session.ask(lambda channel: channel.delete(schema.reports.name))
            assert session.lost is None

    run(main())


def test_the_loss_of_either_connection_ends_it(rabbitmq_url: str) -> None:
    async def main() -> None:
        for n in range(2):
            async with a_session(rabbitmq_url) as session:
                connection = session._reading if n else session._writing
                connection._raw.close()
                await until(lambda: session.lost is not None)
                with pytest.raises(LOST):
                    await session.declare(Queue("tests.nowhere", {}))

    run(main())


def test_a_session_that_is_given_up_while_it_is_opened_leaves_no_connection(rabbitmq_url: str, opened: Opened) -> None:
    async def stop(making: asyncio.Task[Session]) -> None:
        await give_up(making)
        assert opened.left() == []

    run(stopped_at_every_step(lambda: Session.open(parameters(rabbitmq_url, 10, 10, "tests"), 10), stop))


def test_questions_at_the_same_time_do_not_suffer_from_one_that_fails(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        async with a_session(rabbitmq_url) as session:
            await session.declare(schema.reports)
            names = [schema.reports.name, "tests.nowhere"] * 10
            assert await asyncio.gather(*map(session.is_there, names)) == [True, False] * 10
            await session.ask(lambda channel: channel.delete(schema.reports.name))

    run(main())


def test_a_binding_is_forgotten_with_its_queue(rabbitmq_url: str) -> None:
    async def main() -> None:
        async with a_session(rabbitmq_url) as session:
            session.bound = {("one", "group", ""), ("other", "group", "")}
            session.declared = {"one", "other"}
            session.gone("one")
            assert session.bound == {("other", "group", "")}
            assert session.declared == {"other"}

    run(main())


class Refusing:
    """A connection that the broker closes when a queue is declared."""

    version = "4.3.0"

    def __init__(self, code: int, text: str) -> None:
        self.error = ConnectionClosed(code, text)
        self.is_closed = False

    async def connect(self, *arguments: object) -> Refusing:
        return self

    async def channel(self) -> Refusing:
        return self

    async def declare(self, name: str, arguments: object, durable: bool) -> None:
        raise self.error

    async def close(self) -> None:
        self.is_closed = True


def test_queues_are_durable_where_the_broker_permits_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = Refusing(541, "INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated.")
    monkeypatch.setattr(module, "Connection", refusing)
    assert not run(permits_transient("4.3.0", None, 5, "p:"))
    assert refusing.is_closed
    assert run(permits_transient("3.11.28", None, 5, "p:")), "it is not asked"


@pytest.mark.parametrize(
    ("code", "text"), [(541, "INTERNAL_ERROR"), (320, "CONNECTION_FORCED - transient_nonexcl_queues")]
)
def test_another_error_is_no_answer(code: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Connection", refusing := Refusing(code, text))
    with pytest.raises(ConnectionClosed):
        run(permits_transient("4.3.0", None, 5, "p:"))
    assert refusing.is_closed


def test_a_broker_that_is_asked_keeps_nothing_of_it(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        arguments = parameters(rabbitmq_url, 10, 10, "tests")
        async with a_session(rabbitmq_url) as session:
            permitted = await permits_transient("3.12", arguments, 10, prefix)
            assert permitted is not session.makes_durable

    run(main())


def test_a_queue_is_examined_on_the_connection_that_it_does_not_answer_on(
    rabbitmq_url: str, schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker may read nothing from one of them, and would seem to answer for the queue on the other."""

    async def main() -> None:
        async with a_session(rabbitmq_url) as session:
            asked: list[object] = []

            async def examine(connection: object, *_: object) -> None:
                asked.append(connection)

            monkeypatch.setattr(session, "_examine", examine)
            never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            for channel in (await session.writing_channel(), await session.channel()):
                channel.slow(schema.reports.name, never)
                await until(lambda: session._examined == set())
            session._replicated.add("work")
            channel.slow("work", never)
            assert asked == [session._writing, session._reading]

    run(main())


def test_a_queue_that_is_up_and_holds_messages_is_left_alone(rabbitmq_url: str, schema: Schema) -> None:
    async def main() -> None:
        async with a_session(rabbitmq_url) as session:
            await session.publish_on(schema.reports, b"1")
            answer = asyncio.ensure_future(session.length(schema.reports))
            await session._examine(session._reading, schema.reports.name, answer)
            assert (await session.length(schema.reports)).messages == (await answer).messages == 1
            await session.ask(lambda channel: channel.purge(schema.reports.name))
            await session._examine(session._reading, schema.reports.name, answer)
            assert schema.reports.name not in session.declared, "one that is empty may have gone"
            await session.ask(lambda channel: channel.delete(schema.reports.name))

    run(main())
