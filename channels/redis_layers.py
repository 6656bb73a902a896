"""The layers of channels_redis: the Redis layer of this project with the arguments and coroutines of Channels 4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.redis import RedisChannelLayer as RedisLayer

from .base_layer import DEFAULT_CAPACITY
from .coroutine_layer import SHARED_CAPACITY, CoroutineChannelLayer, capacities

__all__ = ["RedisChannelLayer", "RedisPubSubChannelLayer"]

FORMATS = ("msgpack", "json")


class RedisChannelLayer(CoroutineChannelLayer):
    """`channel_layer.redis.RedisChannelLayer` as ``channels_redis.core.RedisChannelLayer``.

    Args:
        hosts: servers, each a URL, a ``(host, port)`` pair or a dict of redis-py arguments. One with ``sentinels`` and
            ``master_name`` stands for the primary of a service that Redis Sentinel watches.
        prefix: in front of every key; a colon is put behind it.
        expiry: seconds a message waits for a receiver.
        group_expiry: seconds a membership lasts.
        capacity: messages a channel may hold. Channels that connections share hold more.
        channel_capacity: name, glob or compiled expression → capacity.
        symmetric_encryption_keys: secrets; the first encrypts, all decrypt.
        random_prefix_length: no effect; nothing here needs messages to differ.
        serializer_format: no effect, but has to be "msgpack" or "json"; a message is always encoded with msgpack.
        connection_kwargs, max_message_size, presence: those of the layer below.

    Raises:
        LayerConfigurationError: a value cannot work; the text says what to change.
    """

    receives_for_others: ClassVar[bool] = False

    def __init__(
        self,
        hosts: Any = None,
        prefix: str = "asgi",
        expiry: float = 60,
        group_expiry: int = 86_400,
        capacity: int = DEFAULT_CAPACITY,
        channel_capacity: Mapping[Any, int] | None = None,
        symmetric_encryption_keys: Any = None,
        random_prefix_length: int = 12,
        serializer_format: str = "msgpack",
        *,
        connection_kwargs: Mapping[str, Any] | None = None,
        max_message_size: int | None = None,
        presence: float | None = None,
    ) -> None:
        if not isinstance(prefix, str):
            raise LayerConfigurationError(f"prefix is text, not {type(prefix).__name__}")
        if serializer_format not in FORMATS:
            raise LayerConfigurationError(
                f"serializer_format {serializer_format!r} cannot be used: messages are always encoded with msgpack. "
                "Leave the option away, and convert in the application what msgpack does not carry"
            )
        options: dict[str, Any] = {"max_message_size": max_message_size, "presence": presence}
        layer = RedisLayer(
            hosts=hosts,
            prefix=prefix if prefix.endswith(":") else prefix + ":",
            connection_kwargs=connection_kwargs,
            symmetric_encryption_keys=symmetric_encryption_keys or None,
            expiry=expiry,
            group_expiry=group_expiry,
            capacity=capacity,
            channel_capacity=capacities(channel_capacity),
            **{name: value for name, value in options.items() if value is not None},
        )
        super().__init__(layer, capacity, channel_capacity)
        self.prefix = prefix

    @property
    def client_prefix(self) -> str:
        """The part of names of `new_channel` that tells this process from others."""
        return self._process


class RedisPubSubChannelLayer(RedisChannelLayer):
    """The same layer as ``channels_redis.pubsub.RedisPubSubChannelLayer``.

    Here too, messages are stored until they are received or expire, and channels may be added to groups anywhere.

    Args:
        hosts, prefix, symmetric_encryption_keys, serializer_format: see `RedisChannelLayer`.
        on_disconnect, on_reconnect: no effect; the layer reconnects by itself and loses no membership.
        options: those of `RedisChannelLayer` that are given by name only.
    """

    def __init__(
        self,
        hosts: Any = None,
        prefix: str = "asgi",
        on_disconnect: str | None = None,
        on_reconnect: str | None = None,
        *,
        symmetric_encryption_keys: Any = None,
        serializer_format: str = "msgpack",
        **options: Any,
    ) -> None:
        super().__init__(
            hosts,
            prefix,
            capacity=options.pop("capacity", SHARED_CAPACITY),
            symmetric_encryption_keys=symmetric_encryption_keys,
            serializer_format=serializer_format,
            **options,
        )
