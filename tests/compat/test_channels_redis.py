"""`channels_redis`: the names that applications for Channels 2 to 4 import."""

from __future__ import annotations

from typing import Any

import pytest

import channels_redis.core
import channels_redis.pubsub
from channel_layer.exceptions import ChannelFull
from channels.redis_layers import RedisChannelLayer, RedisPubSubChannelLayer
from channels_redis.serializers import (
    BaseMessageSerializer,
    JSONSerializer,
    MsgPackSerializer,
    SerializerDoesNotExist,
    SerializersRegistry,
    registry,
)

MESSAGE = {"type": "m", "n": 1, "list": [None, True]}


def test_every_module_has_its_name() -> None:
    assert channels_redis.core.RedisChannelLayer is RedisChannelLayer
    assert channels_redis.core.ChannelFull is ChannelFull
    assert channels_redis.pubsub.RedisPubSubChannelLayer is RedisPubSubChannelLayer


@pytest.mark.parametrize("name", ["json", "msgpack"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"random_prefix_length": 8},
        {"symmetric_encryption_keys": ["a", b"b"]},
        {"symmetric_encryption_keys": ["a"], "random_prefix_length": 4, "expiry": 60},
    ],
)
def test_a_serializer_takes_back_what_it_gave(name: str, options: Any) -> None:
    serializer = registry.get_serializer(name, **options)
    first, second = serializer.serialize(MESSAGE), serializer.serialize(MESSAGE)
    assert (first == second) is not bool(options)
    assert serializer.deserialize(first) == serializer.deserialize(second) == MESSAGE


def test_the_encodings() -> None:
    assert JSONSerializer().serialize({"a": 1}) == b'{"a": 1}'
    assert MsgPackSerializer().serialize({"a": 1}) == b"\x81\xa1a\x01"


def test_keys_are_a_list() -> None:
    with pytest.raises(ValueError, match="must be a list"):
        JSONSerializer(symmetric_encryption_keys="secret")


def test_serializers_of_an_application() -> None:
    class Upper(BaseMessageSerializer):
        def as_bytes(self, message: Any) -> bytes:
            return str(message).upper().encode()

        def from_bytes(self, message: bytes) -> Any:
            return message.decode()

    own = SerializersRegistry()
    own.register_serializer("upper", Upper)
    assert own.get_serializer("upper").serialize("a") == b"A"
    with pytest.raises(SerializerDoesNotExist):
        own.get_serializer("lower")
    with pytest.raises(AssertionError, match=r"is no class with serialize\(\) and deserialize\(\)"):
        own.register_serializer("bad", len)
