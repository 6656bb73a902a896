"""Waking those who wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.postgres import PostgresChannelLayer
from channel_layer.postgres import layer as layer_module
from channel_layer.postgres import listening as listening_module
from channel_layer.postgres.listening import bell
from tests.conftest import wait_until

Ask = Callable[..., list[tuple]]


@pytest.mark.parametrize("reader", ["websocket.receive", "daphne.x!", "http.request.body?abc"])
def test_the_database_and_the_process_agree_on_names(postgres_dsn: str, schema: str, sql: Ask, reader: str) -> None:
    layer = PostgresChannelLayer(postgres_dsn, schema=schema)
    layer.check()
    layer.close()
    assert sql(f"SELECT {schema}.bell(%s)", reader) == [(bell(schema, reader),)]


def test_a_name_tells_schemas_apart_and_single_reader_channels_not() -> None:
    assert bell("one", "x") != bell("other", "x")
    assert bell("one", "body?a") == bell("one", "body?b") != bell("one", "x")


def test_who_waits_is_woken_though_the_listening_connection_was_cut(
    postgres_dsn: str, schema: str, sql: Ask, eventually: Callable[..., object]
) -> None:
    layer = PostgresChannelLayer(postgres_dsn, schema=schema)
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.extend(layer.receive_batch(["later"], timeout=30)))
    thread.start()
    eventually(lambda: layer._watch._watching, "the thread to watch")
    cut = layer._receiver.connection
    sql("SELECT pg_terminate_backend(%s)", cut.pgconn.backend_pid)
    eventually(lambda: cut.closed and layer._ear.is_listening_to(["later"]), "another connection to listen")
    layer.send("later", {"n": 1})
    thread.join(30)
    assert [item.message for item in got] == [{"n": 1}]
    layer.close()


def test_nothing_is_asked_more_than_once_a_second_while_nothing_comes(
    postgres_dsn: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = PostgresChannelLayer(postgres_dsn, schema=schema)
    assert layer.receive_batch(["quiet"], timeout=0.2) == []  # the thread listens from here on
    takes = []
    run = layer._receiver.run
    monkeypatch.setattr(layer._receiver, "run", lambda plan: takes.append(plan) or run(plan))
    assert layer.receive_batch(["quiet"], timeout=2.5) == []
    assert len(takes) <= 7  # two at the start, two at the end, and one for each second
    layer.close()


@pytest.fixture
def layer(postgres_dsn: str, schema: str) -> Iterator[PostgresChannelLayer]:
    """One that relies on notifications alone."""
    layer = PostgresChannelLayer(postgres_dsn, schema=schema)
    layer.check()
    layer._keeper.seconds = 60.0
    yield layer
    layer.close()


def test_of_threads_that_wait_each_gets_what_is_for_it_whoever_watches(
    layer: PostgresChannelLayer, eventually: Callable[..., object]
) -> None:
    got: dict[str, list[object]] = {}

    def receive(name: str) -> None:
        got[name] = [item.message for item in layer.receive_batch([name], timeout=30)]

    names = [f"of.{n}" for n in range(4)]
    threads = [threading.Thread(target=receive, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    eventually(lambda: len(layer._watch._others) == 3 and layer._ear.is_listening_to(names), "all to wait")
    for name in [*names[1:], names[0]]:
        began = time.monotonic()
        layer.send(name, {"to": name})
        eventually(lambda name=name: name in got, "its message")
        assert time.monotonic() - began < 5
    for thread in threads:
        thread.join(30)
    assert got == {name: [{"to": name}] for name in names}
    assert layer._watch._watcher is None


def test_who_watches_can_be_interrupted(layer: PostgresChannelLayer, eventually: Callable[..., object]) -> None:
    thread = threading.Thread(target=lambda: layer.receive_batch(["nothing"], timeout=30))
    thread.start()
    eventually(lambda: layer._watch._watching, "the thread to watch")
    layer.interrupt()
    thread.join(5)
    assert not thread.is_alive()


def test_a_coroutine_is_woken_by_the_connection_that_it_takes_with(
    layer: PostgresChannelLayer, postgres_dsn: str, schema: str
) -> None:
    other = PostgresChannelLayer(postgres_dsn, schema=schema)

    async def main() -> None:
        async with asyncio.timeout(20):
            for n in range(20):
                waiting = asyncio.create_task(layer.areceive_batch(["later", "me!"], timeout=30))
                ear = layer._async_driver.ear
                while not (ear.is_waited_at and ear.is_listening_to(["later", "me!"])):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.001)
                await asyncio.to_thread(other.send, ("later", "me!x")[n % 2], {"n": n})
                assert [item.message for item in await waiting] == [{"n": n}]
        await layer.aclose()

    asyncio.run(main())
    other.close()


def test_a_notification_that_comes_with_an_answer_is_heard(
    layer: PostgresChannelLayer, postgres_dsn: str, schema: str
) -> None:
    """Then the socket has nothing more to say."""

    async def main() -> None:
        async with asyncio.timeout(20):
            assert await layer.areceive_batch(["own"], timeout=0.05) == []
            for n in range(50):
                waiting = asyncio.create_task(layer.areceive_batch(["own"], timeout=30))
                await asyncio.sleep(0)
                await layer.asend("own", {"n": n})
                assert [item.message for item in await waiting] == [{"n": n}]
        await layer.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("side", ["threads", "coroutines"])
def test_when_nobody_waits_for_a_while_nothing_is_listened_to_and_the_thread_ends(
    postgres_dsn: str, schema: str, side: str
) -> None:
    layer = PostgresChannelLayer(postgres_dsn, schema=schema)
    layer.check()

    async def main() -> None:
        await layer.areceive_batch(["quiet"], timeout=0.05)
        assert layer._async_driver.ear.is_listening
        while layer._keeper._thread is not None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
        assert not layer._async_driver.ear.is_listening
        assert await layer.areceive_batch(["quiet"], timeout=0.05) == []
        assert layer._async_driver.ear.is_listening
        await layer.aclose()

    if side == "coroutines":
        asyncio.run(asyncio.wait_for(main(), 30))
    else:
        layer.receive_batch(["quiet"], timeout=0.05)
        assert layer._ear.is_listening
        wait_until(lambda: layer._keeper._thread is None, "the thread to end")
        assert not layer._ear.is_listening
        layer.receive_batch(["quiet"], timeout=0.05)
        assert layer._ear.is_listening
    layer.close()


def test_a_loop_that_does_not_run_keeps_no_connection_that_listens(
    postgres_dsn: str, schema: str, sql: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server would keep all notifications for it."""
    monkeypatch.setattr(layer_module, "DEAF_SECONDS", 0.5)
    layer = PostgresChannelLayer(postgres_dsn, schema=schema)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(layer.areceive_batch(["quiet"], timeout=0.05))
    pid = layer._async_driver._loops[loop].connection.pgconn.backend_pid
    wait_until(lambda: sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid) == [], "its connection to end")
    layer.send("quiet", {"n": 1})
    found = loop.run_until_complete(layer.areceive_batch(["quiet"], timeout=5))
    assert [item.message for item in found] == [{"n": 1}]
    loop.run_until_complete(layer.aclose())
    loop.close()
    layer.close()


def test_an_outage_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    layer = PostgresChannelLayer("postgresql://tests@127.0.0.1:1/none", presence=9)  # a heartbeat every 1.5 s
    failures: list[BaseException] = []
    every_look = layer._keeper._every_look

    def look() -> bool:
        try:
            return every_look()
        except LayerUnavailable as error:
            failures.append(error)
            raise

    layer._keeper._every_look = look
    layer._keeper.start()
    thread = layer._keeper._thread
    with layer._ear.waiting(["x"], lambda: None):
        wait_until(lambda: len(failures) >= 3, "three attempts")
        assert thread.is_alive()
    layer._keeper.close()
    assert [record.getMessage().endswith("Trying again.") for record in caplog.records] == [True]
    layer.close()


def test_more_names_than_are_kept_do_not_hide_those_that_are_waited_for(
    layer: PostgresChannelLayer, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., object]
) -> None:
    monkeypatch.setattr(listening_module, "MOST_BELLS", 3)
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.extend(layer.receive_batch(["kept"], timeout=30)))
    thread.start()
    eventually(lambda: layer._watch._watching, "the thread to watch")
    for n in range(10):
        layer.receive_batch([f"short.{n}"], timeout=0.01)
    layer.send("kept", {"n": 1})
    thread.join(10)
    assert [item.message for item in got] == [{"n": 1}]


def test_a_layer_that_is_closed_has_no_connections(postgres_dsn: str, schema: str, sql: Ask) -> None:
    layer = PostgresChannelLayer(postgres_dsn + "?application_name=closing", schema=schema)
    layer.receive_batch(["quiet"], timeout=0.1)
    layer.close()
    wait_until(
        lambda: sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'closing'") == [(0,)],
        "the server to see it",
    )
