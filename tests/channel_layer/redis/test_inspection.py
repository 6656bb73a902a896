"""Looks at Redis: many keys, many readers, keys of others, and what is encrypted."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from channel_layer.cipher import NO_KEYS, UNKNOWN_KEY
from channel_layer.exceptions import LayerUnusable
from channel_layer.redis import RedisChannelLayer
from channel_layer.redis.inspection import FIRST_READERS, PIPELINE, SCANNED_KEYS
from channel_layer.redis.scripts import Call


class Layers:
    """Layers that share a prefix."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.prefix = f"test-{uuid.uuid4().hex}:"
        self.made: list[RedisChannelLayer] = []

    def __call__(self, **options: Any) -> RedisChannelLayer:
        self.made.append(RedisChannelLayer(hosts=[self.url], prefix=self.prefix, **options))
        return self.made[-1]


@pytest.fixture
def layers(redis_url: str) -> Iterator[Layers]:
    made = Layers(redis_url)
    yield made
    made().flush()
    for layer in made.made:
        layer.close()


@pytest.fixture
def client(layers: Layers) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(layers.url) as client:
        yield client


def test_groups_are_found_in_steps_among_many_keys(
    layers: Layers, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = layers()
    keys = 8 * SCANNED_KEYS
    client.mset({f"{layers.prefix}other:{n}": 1 for n in range(keys)})
    for n in range(30):
        layer.group_add(f"group-{n}", "plain")
    client.zadd(f"{layers.prefix}g:not a group", {"plain": 2e15})
    calls: list[list[Call]] = []
    run = layer._inspection._run
    monkeypatch.setattr(layer._inspection, "_run", lambda shard, batch: calls.append(batch) or run(shard, batch))
    sizes = layer.group_sizes(5)
    assert sizes.total == 30
    assert len(sizes.largest) == 5
    commands = [call.args[0] for batch in calls for call in batch]
    assert commands.count("SCAN") >= keys / SCANNED_KEYS / 2
    assert "KEYS" not in commands
    assert max(map(len, calls)) <= PIPELINE * 2
    client.unlink(*client.scan_iter(f"{layers.prefix}*", 10_000))


def test_a_group_with_many_readers_is_counted_in_steps(layers: Layers, client: redis.Redis) -> None:
    layer = layers()
    size = FIRST_READERS + 2 * PIPELINE + 7
    client.zadd(f"{layers.prefix}g:large", {f"plain.{n}": 2e15 for n in range(size)})
    client.zadd(f"{layers.prefix}g:exact", {f"plain.{n}": 2e15 for n in range(FIRST_READERS)})
    assert layer.group_sizes() == (2, [("large", size), ("exact", FIRST_READERS)])
    total, channels = layer.group_members("large", 10)
    assert (total, len(channels)) == (size, 10)


def test_members_of_a_process_that_is_gone_are_not_counted(layers: Layers, client: redis.Redis) -> None:
    layer = layers()
    layer.group_add("team", "gone!a")
    layer.group_add("team", "here!a")
    client.delete(f"{layers.prefix}p:gone!")
    assert layer.group_sizes() == (1, [("team", 1)])
    assert layer.group_members("team") == (1, ["here!a"])


@pytest.mark.parametrize(
    ("keys", "reason"),
    [({}, NO_KEYS), ({"symmetric_encryption_keys": ["another"]}, UNKNOWN_KEY)],
    ids=["no keys", "other keys"],
)
def test_what_is_encrypted_is_shown_without_its_content(layers: Layers, keys: dict[str, Any], reason: str) -> None:
    pytest.importorskip("cryptography")
    layers(symmetric_encryption_keys=["a secret"]).send("work", {"n": 1})
    [found] = layers(**keys).peek("work")
    assert (found.channel, found.message, found.headers, found.reason) == ("work", None, None, reason)
    assert found.size > 50


def test_junk_on_a_channel_is_shown(layers: Layers, client: redis.Redis) -> None:
    client.rpush(f"{layers.prefix}c:work", "short", b"\x7f" * 20)
    [found] = layers().peek("work")
    assert found.message is None
    assert found.reason


def test_a_look_gets_past_what_has_expired(layers: Layers, client: redis.Redis) -> None:
    client.rpush(f"{layers.prefix}c:work", *[bytes(20)] * 500)
    layers().send("work", {"n": 1})
    assert [found.message for found in layers().peek("work", 1)] == [{"n": 1}]


def test_a_user_who_may_not_scan_is_told_so(layers: Layers, client: redis.Redis) -> None:
    user = f"user-{uuid.uuid4().hex}"
    client.acl_setuser(user, enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", "-scan"])
    try:
        layer = RedisChannelLayer(
            hosts=[layers.url], prefix=layers.prefix, connection_kwargs={"username": user, "password": "pw"}
        )
        with pytest.raises(LayerUnusable, match="scan"):
            layer.group_sizes()
        layer.close()
    finally:
        client.acl_deluser(user)
