"""How long what lies on Redis lives: a lifetime is prolonged and never shortened, and everything has one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from channel_layer.delivery import LastWill
from channel_layer.exceptions import LayerUnavailable
from channel_layer.redis import RedisChannelLayer, presence
from channel_layer.redis.scripts import GROUP_JOIN, LARGE_BYTES, Call, plain

from .conftest import MakeRedisLayer

LONG, SHORT = 1000.0, 5.0


def ask(layer: RedisChannelLayer, *command: Any) -> Any:
    [reply] = layer._sync.run(0, [plain(*command)])
    return reply


def seconds_left(layer: RedisChannelLayer, key: str) -> float:
    return float(ask(layer, "PTTL", layer.prefix + key)) / 1000


@pytest.mark.parametrize("lasts", [{"a": LONG, "b": SHORT}, {"a": SHORT, "b": LONG}], ids=["short last", "long last"])
def test_memberships_that_are_put_back_end_each_at_its_own_time(
    redis_url: str, make_redis_layer: MakeRedisLayer, lasts: dict[str, float]
) -> None:
    process = make_redis_layer(redis_url)
    process.receive_batch(["process!"])
    for local, seconds in lasts.items():
        process.index.join("process!", "room", local, seconds)
    process._presence.reconnect(0, ["process!"])
    ask(process, "DEL", process.prefix + "p:process!")
    process.receive_batch(["process!"])
    for key in ("g:room", "m:room:process!"):
        assert LONG - 20 < seconds_left(process, key) <= LONG, key
    now, _ = ask(process, "TIME")
    for local, seconds in lasts.items():
        ends = float(ask(process, "ZSCORE", process.prefix + "m:room:process!", local)) / 1000
        assert abs(ends - int(now) - seconds) < min(20, seconds)
    ends = float(ask(process, "ZSCORE", process.prefix + "g:room", "process!")) / 1000
    assert abs(ends - int(now) - LONG) < 20, "the process has members for as long as the last of them stays"


def test_a_member_that_joins_for_a_shorter_time_shortens_nothing(
    redis_url: str, make_redis_layer: MakeRedisLayer
) -> None:
    patient, hasty = make_redis_layer(redis_url, group_expiry=LONG), make_redis_layer(redis_url, group_expiry=SHORT)
    for layer in (patient, hasty):
        layer.group_add("room", "process!a")
        layer.group_add("room", "ordinary")
    for key in ("g:room", "m:room:process!", "p:ordinary"):
        assert seconds_left(patient, key) > LONG - 20, key


def test_adding_members_does_not_keep_a_process_alive_that_does_not_read(
    redis_url: str, make_redis_layer: MakeRedisLayer
) -> None:
    worker = make_redis_layer(redis_url, presence=LONG)
    worker.group_add("room", "process!a")
    ask(worker, "PEXPIRE", worker.prefix + "p:process!", 20_000)
    worker.group_add("room", "process!b")
    assert 0 < seconds_left(worker, "p:process!") <= 20


def test_the_news_of_a_membership_waits_longer_than_a_message(redis_url: str, make_redis_layer: MakeRedisLayer) -> None:
    worker, process = make_redis_layer(redis_url, expiry=0.02), make_redis_layer(redis_url)
    worker.group_add("room", "process!a")
    worker.send("process!a", {})
    time.sleep(0.05)
    assert process.receive_batch(["process!"], limit=10) == []
    assert process.counters.expired == 1, "the message"
    process.send_group("room", {"n": 1})
    [delivery] = process.receive_batch(["process!"])
    assert list(delivery.members or ()) == ["a"]


def put_back(layer: RedisChannelLayer) -> None:
    other = "elsewhere!"
    layer.send(other + "a", {})
    layer.put_back("process!a", layer.receive_batch([other]))


def leave_a_last_will(layer: RedisChannelLayer) -> None:
    item = layer.prepare("process!a", {})
    item.last_will = LastWill("other!a", layer.prepare("gone", {}))
    layer.send_batch([item])


def carry_out_a_last_will(layer: RedisChannelLayer) -> None:
    item = layer.prepare("connect", {})
    item.last_will = LastWill("other!a", layer.prepare("process!a", {}))
    layer.send_batch([item])
    for _ in range(2):  # at first the process is only doubted
        ask(layer, "ZADD", layer.prefix + "w:", 0, "other!")
        layer._sync.run(0, [layer._last_wills._calls.carry_out(0)])


def send_to_group(layer: RedisChannelLayer) -> None:
    layer._sync.run(0, [layer._plan.join("room", "process!", "a", tell=False)])
    layer.send_group("room", {})


WAYS: dict[str, Callable[[RedisChannelLayer], object]] = {
    "message": lambda layer: layer.send("process!a", {}),
    "large message": lambda layer: layer.send("process!a", {"text": "x" * LARGE_BYTES}),
    "message with a last will": leave_a_last_will,
    "last_will": carry_out_a_last_will,
    "message put back": put_back,
    "group": send_to_group,
    "joining": lambda layer: layer.group_add("room", "process!a"),
    "leaving": lambda layer: layer.group_discard("room", "process!a"),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_queue_that_nobody_reads_any_more_is_gone_after_a_while(
    redis_url: str, make_redis_layer: MakeRedisLayer, way: Callable[[RedisChannelLayer], object]
) -> None:
    layer = make_redis_layer(redis_url, expiry=40)
    way(layer)
    assert ask(layer, "LLEN", layer.prefix + "c:process!") == 1
    assert 30 < seconds_left(layer, "c:process!") <= 50


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_queue_lives_as_long_as_its_most_lasting_message(
    redis_url: str, make_redis_layer: MakeRedisLayer, way: Callable[[RedisChannelLayer], object]
) -> None:
    patient, hasty = make_redis_layer(redis_url, expiry=LONG), make_redis_layer(redis_url, expiry=SHORT)
    way(hasty)
    patient.send("process!b", {})
    assert seconds_left(patient, "c:process!") > LONG - 20
    way(hasty)
    assert seconds_left(patient, "c:process!") > LONG - 20


def test_what_was_received_is_kept_though_the_memberships_cannot_be_put_back_behind_it(
    redis_url: str, make_redis_layer: MakeRedisLayer, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    process = make_redis_layer(redis_url)
    process.receive_batch(["process!"])
    for local in "abc":
        process.index.join("process!", "room", local, LONG)
    process.send("process!a", {"n": 1})
    ask(process, "DEL", process.prefix + "p:process!")
    process._presence.reconnect(0, ["process!"])
    with monkeypatch.context() as patch:
        run = process._sync.run
        patch.setattr(presence, "RESTORE_BATCH", 2)
        restored: list[Call] = []

        def away_after_the_first_batch(shard: int, calls: list[Call]) -> list[Any]:
            restored.extend(call for call in calls if call.script is GROUP_JOIN)
            if len(restored) > 1:
                raise LayerUnavailable("here", "gone in this moment")
            return run(shard, calls)

        patch.setattr(process._sync, "run", away_after_the_first_batch)
        [delivery] = process.receive_batch(["process!"])
        assert delivery.message == {"n": 1}
    assert process.group_channels("room") == ["process!a"]

    def is_back() -> bool:
        process.receive_batch(["process!"])
        return len(process.group_channels("room")) == 3

    eventually(is_back, "the memberships")
