"""Behind PgBouncer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from channel_layer.exceptions import LayerUnavailable, LayerUnusable
from channel_layer.postgres import PostgresChannelLayer
from channel_layer.postgres.pooling import prove
from tests.conftest import running_pgbouncer


@pytest.fixture(params=["transaction", "statement"])
def useless_dsn(request: pytest.FixtureRequest, postgres_dsn: str) -> Iterator[str]:
    """The DSN through a PgBouncer that keeps no connection for a client."""
    with running_pgbouncer(postgres_dsn, request.param) as dsn:
        yield dsn


def test_one_that_lends_a_connection_for_as_long_as_a_client_stays_will_do(postgres_dsn: str, schema: str) -> None:
    with running_pgbouncer(postgres_dsn, "session") as dsn:
        layer = PostgresChannelLayer(dsn, schema=schema)
        layer.check()
        layer.send("through", {"n": 1})
        assert layer.receive(["through"]) == ("through", {"n": 1})
        assert layer.receive_batch(["through"], timeout=0.1) == []

        async def both_ways() -> object:
            await layer.asend("through", {"n": 2})
            found = await layer.areceive_batch(["through"], timeout=5)
            await layer.aclose()
            return [item.message for item in found]

        assert asyncio.run(both_ways()) == [{"n": 2}]
        layer.close()


def test_one_that_does_not_is_refused_in_whatever_way_the_layer_is_used(useless_dsn: str, schema: str) -> None:
    layers = [PostgresChannelLayer(useless_dsn, schema=schema) for _ in range(4)]
    with pytest.raises(LayerUnusable, match="set PgBouncer's pool_mode to session"):
        layers[0].check()
    with pytest.raises(LayerUnavailable, match="LISTEN does not work"):
        layers[1].receive_batch(["through"], timeout=0.1)
    with pytest.raises(LayerUnavailable, match="LISTEN does not work"):
        asyncio.run(layers[2].areceive_batch(["through"], timeout=0.1))
    with pytest.raises(LayerUnavailable, match="LISTEN does not work"):
        layers[3].send("through", {"n": 1})
    for layer in layers:
        layer.close()


def test_connections_of_a_pooler_that_others_get_keep_their_settings(postgres_dsn: str, schema: str) -> None:
    with running_pgbouncer(postgres_dsn, "transaction") as dsn:
        layer = PostgresChannelLayer(dsn, schema=schema)
        with pytest.raises(LayerUnusable):
            layer.check()
        layer.close()
        with psycopg.connect(dsn, autocommit=True) as others:
            settings = "SELECT current_setting('synchronous_commit'), current_setting('enable_seqscan')"
            assert others.execute(settings, prepare=False).fetchone() == ("on", "on")


def test_notifications_arrive_where_there_is_no_pooler(postgres_dsn: str) -> None:
    prove(postgres_dsn, "here")


def test_a_database_that_is_away_is_no_pooler() -> None:
    with pytest.raises(LayerUnavailable, match="connection"):
        prove("postgresql://tests@127.0.0.1:1/none", "there")
