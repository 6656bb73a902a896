"""The channel layer of processes, for the test that watches them."""

from __future__ import annotations

from collections.abc import Mapping

from channel_layer.layer import ChannelLayer
from channel_layer.postgres import PostgresChannelLayer
from channel_layer.rabbitmq import RabbitmqChannelLayer
from channel_layer.redis import RedisChannelLayer
from channel_layer.sqlite import SqliteChannelLayer


def layer_of(environment: Mapping[str, str], presence: float = 30.0) -> ChannelLayer:
    """The layer that the demo's settings make of an environment.

    Args:
        environment: with the address of one broker.
        presence: seconds of silence after which a process is gone.
    """
    if url := environment.get("REDIS_URL"):
        return RedisChannelLayer(hosts=url.split(), presence=presence)
    if dsn := environment.get("POSTGRES_DSN"):
        return PostgresChannelLayer(dsn, presence=presence)
    if url := environment.get("RABBITMQ_URL"):
        return RabbitmqChannelLayer(url, presence=presence)
    return SqliteChannelLayer(environment["CHANNEL_FILE"], presence=presence)
