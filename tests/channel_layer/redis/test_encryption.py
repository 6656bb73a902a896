"""An encrypted layer on a real Redis, and somebody else who reads and writes there."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import redis

from channel_layer import cipher, codec, names
from channel_layer.exceptions import LayerConfigurationError
from channel_layer.redis import RedisChannelLayer
from channels.backends import make_layer as make_from_settings

SECRET = "a secret of the test"


class Attacker:
    """Has the password of the server, but none of the secrets."""

    def __init__(self, url: str, prefix: str) -> None:
        self.redis: Any = redis.Redis.from_url(url)
        self._prefix = prefix

    def take(self, reader: str) -> list[bytes]:
        """Everything on a queue, with its stamps; the queue is empty afterwards."""
        queue = f"{self._prefix}c:{reader}"
        elements: list[Any] = self.redis.lrange(queue, 0, -1)
        self.redis.delete(queue)
        return elements

    def put(self, reader: str, *elements: bytes) -> None:
        self.redis.rpush(f"{self._prefix}c:{reader}", *elements)

    def all_data(self) -> bytes:
        """Every value under the prefix, as Redis would write it to a disk."""
        names: list[Any] = self.redis.keys(f"{self._prefix}*")
        return b"".join(self._value(name) for name in names)

    def _value(self, name: bytes) -> bytes:
        read: dict[bytes, Callable[[], Any]] = {
            b"list": lambda: b"".join(self.redis.lrange(name, 0, -1)),
            b"string": lambda: self.redis.get(name),
            b"zset": lambda: b"".join(self.redis.zrange(name, 0, -1)),
            b"hash": lambda: b"".join(self.redis.hgetall(name).values()),
        }
        return bytes(read[self.redis.type(name)]())


@pytest.fixture
def prefix() -> str:
    return f"test-{uuid.uuid4().hex}:"


@pytest.fixture
def make(redis_url: str, prefix: str) -> Iterator[Callable[..., RedisChannelLayer]]:
    made: list[RedisChannelLayer] = []

    def make(*secrets: str, **options: Any) -> RedisChannelLayer:
        keys = {"symmetric_encryption_keys": list(secrets or [SECRET])}
        made.append(RedisChannelLayer(hosts=[redis_url], **{"prefix": prefix, **keys, **options}))
        return made[-1]

    yield make
    for layer in made:
        layer.flush()
        layer.close()


Make = Callable[..., RedisChannelLayer]


@pytest.fixture
def layer(make: Make) -> RedisChannelLayer:
    return make()


@pytest.fixture
def attacker(redis_url: str, prefix: str) -> Iterator[Attacker]:
    attacker = Attacker(redis_url, prefix)
    yield attacker
    attacker.redis.close()


def messages(layer: RedisChannelLayer, *channels: str) -> list[dict[str, Any]]:
    """All that can be received now."""
    return [delivery.message for delivery in layer.receive_batch(channels, limit=100)]


def dropped_and_alive(layer: RedisChannelLayer, reader: str, count: int = 1) -> None:
    """Nothing comes out of the queue, so much is counted, and the layer goes on."""
    assert messages(layer, reader) == []
    assert layer.counters.bad_frames == count
    layer.send(reader + "x" if reader.endswith("!") else reader, {"text": "still here"})
    assert messages(layer, reader) == [{"text": "still here"}]


# -- what lies in Redis --------------------------------------------------------------------------------


def test_neither_messages_nor_headers_nor_memberships_lie_readable_on_a_queue(
    layer: RedisChannelLayer, attacker: Attacker
) -> None:
    layer.send_batch(
        [
            layer.prepare("room", {"text": "topsecret"}, {"state": b"topsecret"}),
            layer.prepare("process!topsecret", {"text": "topsecret"}),
        ]
    )
    layer.group_add("topsecret", "process!topsecret")
    layer.group_add("topsecret", "room")
    layer.send_group("topsecret", {"text": "topsecret"})
    layer.group_discard("topsecret", "process!topsecret")
    for reader, count in (("room", 2), ("process!", 4)):
        elements = attacker.take(reader)
        assert len(elements) == count
        assert b"topsecret" not in b"".join(elements)


def test_content_is_nowhere_in_the_servers_memory(layer: RedisChannelLayer, attacker: Attacker) -> None:
    layer.group_add("group", "room")
    layer.group_add("group", "process!a")
    layer.send("room", {"text": "topsecret"})
    layer.send_group("group", {"text": "topsecret"})
    stored = attacker.all_data()
    assert len(stored) > 200
    assert b"topsecret" not in stored


# -- attacks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [8, 10, 20, 40, 60, -20, -1])
def test_a_flipped_bit_drops_the_message(layer: RedisChannelLayer, attacker: Attacker, place: int) -> None:
    layer.send("room", {"text": "x"})
    [element] = attacker.take("room")
    altered = bytearray(element)
    altered[place] ^= 1
    attacker.put("room", bytes(altered))
    dropped_and_alive(layer, "room")


def test_a_message_under_an_unknown_key_is_dropped(make: Make) -> None:
    make("another secret").send("room", {"text": "x"})
    dropped_and_alive(make(), "room")


def test_a_message_that_is_not_encrypted_is_dropped(make: Make) -> None:
    make(symmetric_encryption_keys=None).send("room", {"text": "x"})
    dropped_and_alive(make(), "room")


def test_an_encrypted_message_is_dropped_by_a_layer_without_keys(make: Make) -> None:
    make().send("room", {"text": "x"})
    dropped_and_alive(make(symmetric_encryption_keys=None), "room")


def test_a_message_of_another_project_with_the_same_secret_is_dropped(
    make: Make, attacker: Attacker, redis_url: str, prefix: str
) -> None:
    make(prefix=f"{prefix}other:").send("room", {"text": "x"})
    attacker.put("room", *Attacker(redis_url, f"{prefix}other:").take("room"))
    dropped_and_alive(make(), "room")


@pytest.mark.parametrize(("source", "target"), [("room", "vault"), ("a!x", "b!"), ("a!x", "room"), ("room", "a!")])
def test_a_message_moved_to_another_channel_is_dropped(
    layer: RedisChannelLayer, attacker: Attacker, source: str, target: str
) -> None:
    layer.send(source, {"text": "x"})
    attacker.put(target, *attacker.take(names.split(source)[0]))
    dropped_and_alive(layer, target)


def test_a_message_put_in_again_after_its_time_is_dropped(
    layer: RedisChannelLayer, attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert layer._sealer is not None
    now = layer._sealer._clock()
    monkeypatch.setattr(layer._sealer, "_clock", lambda: now - 60 - cipher.CLOCK_TOLERANCE - 1)
    layer.send("room", {"text": "an old one"})
    [old] = attacker.take("room")
    monkeypatch.undo()
    layer.send("room", {"text": "x"})
    [fresh] = attacker.take("room")
    attacker.put("room", fresh[:8] + old[8:])
    dropped_and_alive(layer, "room")


def test_a_group_message_moved_to_a_process_without_members_reaches_nobody(make: Make, attacker: Attacker) -> None:
    sender, stranger = make(), make()
    sender.group_add("group", "a!x")
    stranger.group_add("another", "b!y")
    assert messages(stranger, "b!") == []
    assert messages(sender, "a!") == []
    sender.send_group("group", {"text": "x"})
    attacker.put("b!", *attacker.take("a!"))
    assert messages(stranger, "b!") == []
    stranger.send_group("another", {"text": "still here"})
    assert messages(stranger, "b!") == [{"text": "still here"}]


def test_a_group_message_moved_to_an_ordinary_channel_is_dropped(layer: RedisChannelLayer, attacker: Attacker) -> None:
    layer.group_add("group", "a!x")
    layer.group_add("group", "room")
    assert messages(layer, "a!") == []
    layer.send_group("group", {"text": "x"})
    attacker.put("vault", *attacker.take("a!"), *attacker.take("room"))
    dropped_and_alive(layer, "vault", count=2)


def test_a_channel_written_into_a_group_by_a_stranger_gets_nothing(
    layer: RedisChannelLayer, attacker: Attacker, prefix: str
) -> None:
    layer.group_add("group", "room")
    attacker.redis.zadd(f"{prefix}g:group", {"vault": 1e15})
    attacker.redis.set(f"{prefix}p:vault", 100)
    attacker.redis.set(f"{prefix}t:group:vault", attacker.redis.get(f"{prefix}t:group:room"))
    layer.send_group("group", {"text": "x"})
    assert messages(layer, "room") == [{"text": "x"}]
    dropped_and_alive(layer, "vault")


def test_a_membership_moved_to_another_process_is_dropped(layer: RedisChannelLayer, attacker: Attacker) -> None:
    layer.group_add("group", "a!x")
    attacker.put("b!", *attacker.take("a!"))
    dropped_and_alive(layer, "b!")
    assert layer.index.members("b!", "group") == ()


def test_a_membership_cannot_be_made_up(layer: RedisChannelLayer, attacker: Attacker) -> None:
    layer.send("a!x", {"text": "x"})
    [element] = attacker.take("a!")
    attacker.put("a!", element[:8] + codec.membership_frame(codec.JOIN, "group", "x", 60))
    dropped_and_alive(layer, "a!")
    assert layer.index.members("a!", "group") == ()


def test_who_has_the_secret_cannot_send_hostile_bytes_either(layer: RedisChannelLayer, attacker: Attacker) -> None:
    assert layer._sealer is not None
    layer.send("room", {"text": "x"})
    [element] = attacker.take("room")
    for hostile in (b"\xc1", b"", b"\xdd\xff\xff\xff\xff", b"\x94\x00\xa0\x81\x01\xc0\xc0"):
        attacker.put("room", element[:8] + layer._sealer.for_channel("room", hostile, 60))
    dropped_and_alive(layer, "room", count=4)


def test_bad_messages_among_good_ones_cost_only_themselves(layer: RedisChannelLayer, attacker: Attacker) -> None:
    for number in range(10):
        layer.send("room", {"n": number})
    elements = attacker.take("room")
    elements[3:3] = [elements[3][:-1], elements[3][:9], elements[3][:8] + b"\0" * 500]
    attacker.put("room", *elements)
    assert messages(layer, "room") == [{"n": number} for number in range(10)]
    assert layer.counters.bad_frames == 3


# -- what goes on working ------------------------------------------------------------------------------


def test_keys_are_rotated_without_a_loss_in_any_order_of_restarts(make: Make) -> None:
    steps = [make(*secrets) for secrets in (["old"], ["old", "new"], ["new", "old"], ["new"])]
    sent = 0
    for before, after in pairwise(steps):
        for sender, receiver in ((before, after), (after, before)):
            sender.group_add("group", "room")
            sender.send("room", {"n": sent})
            sender.send_group("group", {"n": sent + 1})
            assert messages(receiver, "room") == [{"n": sent}, {"n": sent + 1}]
            sent += 2
    assert sent == 12
    assert [layer.counters.bad_frames for layer in steps] == [0] * 4


def test_messages_are_put_back_and_taken_again_with_their_headers(layer: RedisChannelLayer) -> None:
    layer.send_batch([layer.prepare("a!x", {"n": n}, {"turn": n, "state": b"kept"}) for n in range(3)])
    layer.put_back("a!x", layer.receive_batch(["a!"], limit=3)[1:])
    again = layer.receive_batch(["a!"], limit=3)
    assert [(item.channel, item.message, item.headers) for item in again] == [
        ("a!x", {"n": n}, {"turn": n, "state": b"kept"}) for n in (1, 2)
    ]


def test_who_left_a_group_takes_the_ticket_along(layer: RedisChannelLayer, attacker: Attacker, prefix: str) -> None:
    layer.group_add("group", "room")
    assert attacker.redis.exists(f"{prefix}t:group:room")
    layer.group_discard("group", "room")
    assert not attacker.redis.exists(f"{prefix}t:group:room")


def test_the_async_side_is_encrypted_too(layer: RedisChannelLayer, attacker: Attacker) -> None:
    async def run() -> list[dict[str, Any]]:
        await layer.agroup_add("group", "a!x")
        await layer.asend("a!x", {"text": "topsecret"})
        assert b"topsecret" not in attacker.all_data()
        delivered = [item.message for item in await layer.areceive_batch(["a!"], limit=9, timeout=30)]
        await layer.aclose()
        return delivered

    assert asyncio.run(run()) == [{"text": "topsecret"}]


@pytest.mark.parametrize("off", [None, [], ()])
def test_without_keys_nothing_is_encrypted(make: Make, attacker: Attacker, off: Any) -> None:
    make(symmetric_encryption_keys=off).send("room", {"text": "readable"})
    assert b"readable" in attacker.all_data()


def test_a_secret_that_got_lost_is_not_taken_for_none() -> None:
    with pytest.raises(LayerConfigurationError, match="must be a list of secrets"):
        RedisChannelLayer(symmetric_encryption_keys="")


def test_settings_of_a_channels_1_project_work_as_they_are(redis_url: str, prefix: str, attacker: Attacker) -> None:
    options = {"hosts": [redis_url], "prefix": prefix, "symmetric_encryption_keys": ["any string will do"]}
    config = {"BACKEND": "asgi_redis.RedisChannelLayer", "CONFIG": options}
    layer = make_from_settings("default", config, options)
    layer.send("room", {"text": "topsecret"})
    assert b"topsecret" not in attacker.all_data()
    assert layer.receive(["room"]) == ("room", {"text": "topsecret"})
    layer.flush()
    layer.close()
