"""The session that is kept, and what is refused at the start."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from channel_layer.conformance.tools import numbers
from channel_layer.exceptions import LayerUnavailable, LayerUnusable
from channel_layer.rabbitmq import RabbitmqChannelLayer
from channel_layer.rabbitmq import engine as engine_module
from channel_layer.rabbitmq.engine import Engine
from channel_layer.rabbitmq.session import Session
from tests.conftest import free_port

from .conftest import Opened, an_engine, run, stopped_at_every_step, until


def test_while_the_broker_is_away_calls_fail_at_once_between_attempts(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []
    connect = Session.open

    async def counted(*arguments: Any) -> Session:
        attempts.append(arguments)
        return await connect(*arguments)

    monkeypatch.setattr(Session, "open", counted)

    async def main() -> None:
        async with an_engine(f"amqp://guest:guest@127.0.0.1:{free_port()}/", prefix) as engine:
            found = []
            for _ in range(3):
                with pytest.raises(LayerUnavailable) as caught:
                    await engine.session()
                found.append(caught.value)
            assert not any(error.uncertain for error in found)
            assert len(attempts) == 1

    run(main())


@pytest.mark.parametrize(("presence", "longest"), [(3, 0.5), (30, 5.0)])
def test_a_process_tries_to_connect_several_times_before_it_counts_as_gone(
    presence: float, longest: float, prefix: str
) -> None:
    async def main() -> None:
        async with an_engine("amqp://127.0.0.1:1/", prefix, presence=presence) as engine:
            pauses = [engine._backoff.next() for _ in range(20)]
            assert longest * 0.7 < pauses[-1] < longest * 1.3

    run(main())


def test_the_next_node_of_a_cluster_is_tried(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine([f"amqp://127.0.0.1:{free_port()}/", rabbitmq_url], prefix) as engine:  # type: ignore[arg-type]
            await engine.check()

    run(main())


def test_a_broker_that_is_too_old_is_named_with_its_version(
    rabbitmq_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "version", property(lambda self: "3.7.28"))

    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            with pytest.raises(LayerUnusable, match=r"is version 3\.7\.28; the layer needs 3\.8 or later"):
                await engine.session()

    run(main())


def test_calls_at_the_same_time_make_one_session(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            sessions = await asyncio.gather(*(engine.session() for _ in range(5)))
            assert len(set(map(id, sessions))) == 1

    run(main())


def test_sending_goes_on_when_the_table_of_names_was_removed(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            session = await engine.session()
            await session.ask(lambda channel: channel.delete(engine._schema.names.name))
            sent = await engine.send([engine._layer.prepare("work", {"n": 1})])
            assert sent.error is None
            assert len(await engine.receive(["work"], 1, 10, False)) == 1
            await until(lambda: not engine._unnoted)
            await engine.flush()

    run(main())


def test_looks_that_are_cancelled_leave_no_channels_open(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            await engine.send([engine._layer.prepare("work", {"n": 1})])
            session = await engine.session()
            for n in range(60):
                looking = asyncio.ensure_future(engine.age("work"))
                for _ in range(n):
                    await asyncio.sleep(0)
                looking.cancel()
                await asyncio.wait([looking])
            await until(lambda: len([each for each in session._reading._channels if each.is_open]) <= 2)
            assert len(await engine.receive(["work"], 1, 10, False)) == 1
            await engine.flush()

    run(main())


@pytest.mark.parametrize("minutes", [-5, 0, 5])
def test_what_is_put_back_is_not_lost_by_clocks_that_differ(
    rabbitmq_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            await engine.send([engine._layer.prepare("work", {"n": 1})])
            (taken,) = await engine.receive(["work"], 1, 10, False)
            now = time.time
            monkeypatch.setattr(time, "time", lambda: now() + 60 * minutes)
            item = engine._layer.prepare("work", taken.message)
            await engine.put_front([item], [taken.expires])
            assert len(await engine.receive(["work"], 1, 10, False)) == 1
            await engine.flush()

    run(main())


def test_to_close_what_has_sent_leaves_no_connection(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            await engine.send([engine._layer.prepare("work", {"n": 1})])
            await engine.flush()
            engine.counts.add("work", 1, 0)
            session = await engine.session()
            await engine.close()
            assert engine._current is None
            assert not session._writing.is_open
            assert not session._reading.is_open

    run(main())


def test_what_runs_in_the_background_does_not_connect_anew_after_the_end(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            await engine.flush()
            ended = asyncio.Event()

            async def late() -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.set()

            engine.background(late())
            await asyncio.sleep(0)
            await engine.close()
            assert ended.is_set()
            with pytest.raises(LayerUnavailable, match="it is being closed"):
                await engine.session()

    run(main())


def test_a_caller_that_is_cancelled_leaves_the_session_that_is_made_to_others(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            first, second = asyncio.ensure_future(engine.check()), asyncio.ensure_future(engine.session())
            await asyncio.sleep(0)
            first.cancel()
            session = await second
            assert first.cancelled()
            assert await engine.session() is session

    run(main())


def test_an_engine_that_is_closed_while_it_connects_leaves_nothing_open(
    rabbitmq_url: str, prefix: str, opened: Opened
) -> None:
    engines: list[Engine] = []

    def check() -> Coroutine[Any, Any, None]:
        engines.append(RabbitmqChannelLayer(rabbitmq_url, prefix=prefix)._running())
        return engines[-1].check()

    async def stop(checking: asyncio.Task[None]) -> None:
        await asyncio.gather(*(engine.close() for engine in engines))
        assert opened.left() == []
        await asyncio.gather(checking, return_exceptions=True)
        engines.clear()

    run(stopped_at_every_step(check, stop))


def test_who_waits_for_a_session_when_the_engine_is_closed_hears_of_it(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            checking = asyncio.ensure_future(engine.check())
            await asyncio.sleep(0)
        with pytest.raises(LayerUnavailable, match="it is being closed"):
            await checking

    run(main())


def test_an_engine_whose_upkeep_connects_anew_leaves_nothing_open(
    rabbitmq_url: str, prefix: str, opened: Opened
) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            await engine.check()
            (await engine.session()).give_up()
            engine.counts.add("work", 1, 0)
            engine.background(engine.counts.write())
            await until(lambda: engine._connecting, meanwhile=0)
        assert opened.left() == []
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task(), *waiting})

    async def outer() -> None:
        waiting.update(asyncio.all_tasks())
        await main()

    waiting: set[asyncio.Task[object]] = set()
    run(outer())


def test_a_broker_that_falls_silent_once_it_has_let_us_in_is_given_up(
    rabbitmq_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch, opened: Opened
) -> None:
    monkeypatch.setattr(engine_module, "CONNECT_SECONDS", 2.0)

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Session, "ask", never)

    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as engine:
            with pytest.raises(LayerUnavailable, match="it does not answer in time") as caught:
                await engine.check()
            assert not caught.value.uncertain
            assert opened.left() == []

    run(main())


def test_what_a_caller_did_not_get_any_more_is_put_back_before_the_end(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as other:
            async with an_engine(rabbitmq_url, prefix) as engine:
                await engine.send([engine._layer.prepare("work", {"n": n}) for n in range(2)])
                engine.regret(await engine.receive(["work"], 1, 10, False))
            assert numbers(await other.receive(["work"], 2, 10, False)) == [0, 1]
            await other.flush()

    run(main())


def test_what_a_cancelled_caller_had_begun_to_send_is_sent_before_the_end(rabbitmq_url: str, prefix: str) -> None:
    async def main() -> None:
        async with an_engine(rabbitmq_url, prefix) as other:
            async with an_engine(rabbitmq_url, prefix) as engine:
                await engine.check()
                sending = asyncio.ensure_future(engine.send([engine._layer.prepare("work", {"n": 1})]))
                await asyncio.sleep(0)
                sending.cancel()
                await asyncio.wait([sending])
                assert sending.cancelled()
            assert numbers(await other.receive(["work"], 1, 10, False)) == [1]
            await other.flush()

    run(main())
