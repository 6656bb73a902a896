"""Calls that meet cut connections, frozen and restarted servers, forks and other transactions."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from channel_layer.conformance import MakeLayer
from channel_layer.exceptions import LayerUnavailable
from channel_layer.postgres import PostgresChannelLayer, connections, drivers
from tests.conftest import running_postgres, server_directory
from tests.fixtures.freezing import frozen

Ask = Callable[..., list[tuple]]


@pytest.fixture(params=["threads", "coroutines"])
def send(request: pytest.FixtureRequest, make_layer: MakeLayer) -> Iterator[Callable[[], int]]:
    """Sends a message on either side; returns the process of the server that serves it."""
    layer = make_layer()
    loop = asyncio.new_event_loop()

    def sync() -> int:
        layer.send("there", {"n": 1})
        return layer._driver.connection.pgconn.backend_pid

    def asynchronous() -> int:
        loop.run_until_complete(layer.asend("there", {"n": 1}))
        return layer._async_driver._loops[loop].connection.pgconn.backend_pid

    yield sync if request.param == "threads" else asynchronous
    loop.run_until_complete(layer.aclose())
    loop.close()


def test_a_connection_is_kept(send: Callable[[], int]) -> None:
    assert send() == send()


def test_one_that_was_cut_while_nothing_was_asked_costs_nothing(
    send: Callable[[], int], sql: Ask, eventually: Callable[..., object], caplog: pytest.LogCaptureFixture
) -> None:
    pid = send()
    sql("SELECT pg_terminate_backend(%s)", pid)
    eventually(lambda: sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid) == [], "its end")
    assert send() != pid
    [said] = [record.getMessage() for record in caplog.records if record.name == "channel_layer.postgres"]
    assert said.endswith("has ended a connection: terminating connection due to administrator command. Trying again.")


def test_a_frozen_server_is_an_uncertain_outage_and_then_a_short_one(
    send: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = send()
    monkeypatch.setattr(connections, "CALL_SECONDS", 0.3)
    with frozen(pid):
        with pytest.raises(LayerUnavailable, match=r"did not answer within 0\.3 s") as caught:
            send()
        assert caught.value.uncertain
        began = time.monotonic()
        with pytest.raises(LayerUnavailable) as caught:
            send()
        assert not caught.value.uncertain  # it was not even tried
        assert time.monotonic() - began < drivers.REFUSE_SECONDS
    time.sleep(drivers.REFUSE_SECONDS)
    assert send() != pid


def test_a_thread_waits_for_others_no_longer_than_for_the_server(
    make_layer: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = make_layer()
    layer.check()
    monkeypatch.setattr(drivers, "CALL_SECONDS", 0.2)
    layer._driver._lock.acquire()
    failed: list[LayerUnavailable] = []

    def send() -> None:
        try:
            layer.send("there", {"n": 1})
        except LayerUnavailable as error:
            failed.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    thread.join(20)
    layer._driver._lock.release()
    assert [error.uncertain for error in failed] == [False]
    assert "others have waited for it for 0.2 s" in str(failed[0])


def test_a_transaction_that_the_server_undoes_for_another_is_run_again(
    make_layer: MakeLayer, schema: str, sql: Ask
) -> None:
    layer = make_layer()
    layer.check()
    sql(f"CREATE SEQUENCE {schema}.tries")
    sql(
        f"CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF nextval('{schema}.tries') < 3 THEN RAISE SQLSTATE '40P01'; END IF; RETURN NEW; END $$"
    )
    sql(f"CREATE TRIGGER refuses BEFORE INSERT ON {schema}.frames EXECUTE FUNCTION {schema}.refuse()")
    layer.send("there", {"n": 1})
    assert layer.receive(["there"]) == ("there", {"n": 1})
    assert layer.receive(["there"]) == (None, None)


def test_a_child_has_connections_of_its_own(make_layer: MakeLayer) -> None:
    layer = make_layer()
    layer.send("before", {"n": 1})
    layer.receive_batch(["nothing"], timeout=0.05)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            layer.send("from.the.child", {"n": 2})
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert layer.receive(["from.the.child"]) == ("from.the.child", {"n": 2})
    assert layer.receive(["before"]) == ("before", {"n": 1})


def test_after_a_crash_of_the_server_members_and_last_wills_are_there_again() -> None:
    """PostgreSQL empties unlogged tables then."""
    told: list[set[str]] = []
    with server_directory() as directory:
        with running_postgres(directory) as (dsn, process):
            layer = PostgresChannelLayer(dsn, presence=1)
            layer.watch_last_wills("me!", lambda carried_out: told.append(set(carried_out)))
            layer.group_add("group", "me!a")
            layer.send("lost", {"n": 1})
            assert layer.receive(["me!"]) == (None, None)
            told.clear()
            os.kill(int((directory / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
            process.wait(30)
        with running_postgres(directory) as (dsn, _):
            layer._server.conninfo = dsn  # it has another port
            deadline = time.monotonic() + 30
            while not told:
                assert time.monotonic() < deadline
                try:
                    layer.receive_batch(["me!"], timeout=0.1)
                except LayerUnavailable:
                    time.sleep(0.05)
            assert told == [set()]
            assert layer.group_channels("group") == ["me!a"]
            layer.send_group("group", {"n": 2})
            [delivery] = layer.receive_batch(["me!"], timeout=5)
            assert (list(delivery.members or ()), delivery.message) == (["a"], {"n": 2})
            assert layer.receive(["lost"]) == (None, None)
            layer.close()
