"""The public suite against a real server, and what this layer promises beyond it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from channel_layer.conformance import ConformanceSuite, MakeLayer
from channel_layer.exceptions import LayerConfigurationError
from channel_layer.postgres import PostgresChannelLayer
from channel_layer.postgres.calls import TAKE

Ask = Callable[..., list[tuple]]


class TestPostgres(ConformanceSuite):
    """The clock of the database is moved; where processes must show that they live, time passes as it does."""

    elsewhere = {"neighbour": "_next"}

    @pytest.fixture
    def make_layer(self, make_layer: MakeLayer, schema: str, sql: Ask, monkeypatch: pytest.MonkeyPatch) -> MakeLayer:
        ahead = [0.0]

        def wait(seconds: float) -> None:
            ahead[0] += seconds
            sql(
                f"CREATE OR REPLACE FUNCTION {schema}.clock() RETURNS double precision LANGUAGE sql VOLATILE AS"
                f" 'SELECT extract(epoch FROM clock_timestamp())::double precision + {ahead[0]}'"
            )

        def make(**options: object) -> PostgresChannelLayer:
            layer = make_layer(**options)
            layer.index._clock = lambda: time.monotonic() + ahead[0]
            return layer

        monkeypatch.setattr(self, "wait", wait)
        return make

    def let_run(self, seconds: float) -> None:
        time.sleep(seconds)


class TestOptions:
    @pytest.mark.parametrize(
        "dsn", [None, "", 7, "postgresql://me:do-not-tell@[nowhere", "host=x passwort=do-not-tell"]
    )
    def test_an_address_that_is_none_is_refused_without_its_password(self, dsn: object) -> None:
        with pytest.raises(LayerConfigurationError, match="dsn") as caught:
            PostgresChannelLayer(dsn)
        assert "do-not-tell" not in str(caught.value)

    @pytest.mark.parametrize(
        ("dsn", "place"),
        [
            ("postgresql://me:do-not-tell@db:5433/name", "PostgreSQL at db:5433/name, schema millrace"),
            ("host=db dbname=name password=do-not-tell", "PostgreSQL at db/name, schema millrace"),
            ("dbname=name", "PostgreSQL at the local socket/name, schema millrace"),
        ],
    )
    def test_it_is_described_without_the_password(self, dsn: str, place: str) -> None:
        assert PostgresChannelLayer(dsn).describe() == place


def test_nobody_takes_what_another_is_taking(make_layer: MakeLayer) -> None:
    """Rows that another transaction holds are passed over, not waited for."""
    one, other = make_layer(), make_layer()
    one.send_batch([one.prepare("shared", {"n": n}) for n in range(4)])
    connection = one._driver.connection
    with connection.transaction():
        held = connection.rows(one._calls._sql(TAKE, "shared", 2))
        assert len(held) == 2
        assert [item.message["n"] for item in other.receive_batch(["shared"], limit=10)] == [2, 3]


def test_what_a_receiver_took_and_could_not_keep_is_there_again(make_layer: MakeLayer) -> None:
    one, other = make_layer(), make_layer()
    one.send("shared", {"n": 1})
    connection = one._driver.connection
    with connection.transaction(force_rollback=True):
        connection.rows(one._calls._sql(TAKE, "shared", 2))
    assert other.receive(["shared"]) == ("shared", {"n": 1})


@pytest.mark.parametrize("side", ["threads", "coroutines"])
def test_what_tells_of_members_does_not_hide_messages_behind_it(make_layer: MakeLayer, side: str) -> None:
    """Both lie on one queue: to have got fewer messages than asked for does not mean that it is empty."""
    layer = make_layer()
    layer._keeper.seconds = 60.0
    receive = layer.receive_batch
    if side == "coroutines":
        receive = lambda *given, **named: asyncio.run(layer.areceive_batch(*given, **named))  # noqa: E731
    assert receive(["me!"], timeout=0.2) == []
    for n in range(4):
        layer.group_add("group", f"me!{n}")
    layer.send_batch([layer.prepare("me!a", {"n": n}) for n in range(4)])
    first = receive(["me!"], limit=5, timeout=5)
    assert [item.message["n"] for item in first] == [0]
    assert [item.message["n"] for item in receive(["me!"], limit=5, timeout=5)] == [1, 2, 3]


def test_others_see_what_was_sent_within_a_second(make_layer: MakeLayer) -> None:
    one, other = make_layer(), make_layer()
    one.send("counted", {"n": 1})
    assert other.global_statistics()["messages_count"] == 0
    one._count_due = 0.0
    one.receive(["nothing"])
    assert other.global_statistics()["messages_count"] == 1
