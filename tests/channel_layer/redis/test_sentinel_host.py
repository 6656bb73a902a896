"""Failovers: to whatever server a stand-in for Sentinel names, and with real Sentinels under load."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from channel_layer.exceptions import LayerUnavailable, LayerUnusable
from channel_layer.redis import RedisChannelLayer
from tests.conftest import wait_until

from .conftest import MakeRedisLayer, OwnRedis, SentinelService, StandIn, in_loop
from .traffic import Traffic

StandIns = Callable[[int], StandIn]

SOON = 15.0


@pytest.fixture
def pair(three_redis: list[OwnRedis]) -> list[OwnRedis]:
    """Two servers, each of which takes itself for a primary."""
    return three_redis[:2]


def watched(make: MakeRedisLayer, *stand_ins: StandIn, **options: Any) -> RedisChannelLayer:
    return make(hosts=[one.address for one in stand_ins], services=["mymaster"], **options)


def copy(old: OwnRedis, new: OwnRedis) -> None:
    """Bring the data of one server to the other, as replication does, up to a failover."""
    old.ask("CONFIG", "SET", "repl-diskless-sync-delay", 0)
    new.ask("REPLICAOF", "127.0.0.1", old.port)
    wait_until(lambda: new.ask("INFO", "replication").get("master_link_status") == "up", "the replica in step")
    new.ask("REPLICAOF", "NO", "ONE")


def length(server: OwnRedis, layer: RedisChannelLayer, channel: str) -> int:
    return int(server.ask("LLEN", f"{layer.prefix}c:{channel}"))


def test_messages_go_to_the_server_that_is_named(
    pair: list[OwnRedis], stand_ins: StandIns, make_redis_layer: MakeRedisLayer
) -> None:
    layer = watched(make_redis_layer, stand_ins(pair[1].port))
    layer.check()
    layer.send("x", {"n": 1})
    in_loop(layer, layer.asend("x", {"n": 2}))
    assert [length(server, layer, "x") for server in pair] == [0, 2]
    assert layer.describe() == "redis+sentinel://mymaster/0"


def test_an_idle_connection_to_an_old_primary_is_cut_though_that_does_not_know_it(
    pair: list[OwnRedis], stand_ins: StandIns, make_redis_layer: MakeRedisLayer, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = pair
    sentinel = stand_ins(old.port)
    layer = watched(make_redis_layer, sentinel)
    layer.send("x", {"n": 1})
    sentinel.name(new.port)
    wait_until(lambda: "after a failover from" in caplog.text, "the news", within=SOON)
    layer.send("x", {"n": 2})
    assert [length(server, layer, "x") for server in pair] == [1, 1]


@pytest.mark.parametrize("side", ["threads", "event loop"])
def test_who_waits_on_an_old_primary_that_is_silent_waits_on_the_new_one_soon(
    pair: list[OwnRedis], stand_ins: StandIns, make_redis_layer: MakeRedisLayer, side: str
) -> None:
    old, new = pair
    sentinel = stand_ins(old.port)
    layer = watched(make_redis_layer, sentinel)

    def receive() -> list[Any]:
        if side == "threads":
            return list(layer.receive_batch(["x"], timeout=60))

        async def until_something_comes() -> list[Any]:
            await layer.areceive_batch(["y"])
            while True:
                try:
                    return list(await layer.areceive_batch(["x"], timeout=60))
                except LayerUnavailable as error:
                    errors.append(error)
                    await asyncio.sleep(0.01)

        return in_loop(layer, until_something_comes())

    got: list[Any] = []
    errors: list[LayerUnavailable] = []

    def keep_receiving() -> None:
        while not got:
            try:
                got.extend(receive())
            except LayerUnavailable as error:
                errors.append(error)
                time.sleep(0.01)

    thread = threading.Thread(target=keep_receiving, daemon=True)
    thread.start()
    wait_until(lambda: b"cmd=blmpop" in old.ask("CLIENT", "LIST"), "a pop that waits")
    old.freeze()
    sentinel.name(new.port)
    make_redis_layer(new.url).send("x", {"n": 1})
    thread.join(60)
    old.thaw()
    assert [delivery.message for delivery in got] == [{"n": 1}]
    assert "closed" in errors[0].reason, "it was cut, and has not waited for as long as the timeouts say"


def test_a_sentinel_that_was_held_up_does_not_lead_back(
    pair: list[OwnRedis], stand_ins: StandIns, make_redis_layer: MakeRedisLayer
) -> None:
    old, new = pair
    late, informed = stand_ins(old.port), stand_ins(old.port)
    informed.name(new.port)
    layer = watched(make_redis_layer, late, informed)

    def sent() -> bool:
        layer.send("x", {})
        return length(new, layer, "x") > 0

    wait_until(sent, "the word of the Sentinel that knows more", within=SOON)
    stored, asked = length(old, layer, "x"), late.asked
    wait_until(lambda: late.asked > asked, "a question to the other", within=SOON)
    layer.send("x", {})
    in_loop(layer, layer.asend("x", {}))
    assert length(old, layer, "x") == stored


@pytest.mark.parametrize("side", ["threads", "event loop"])
def test_a_server_that_is_a_replica_is_never_used(
    pair: list[OwnRedis], stand_ins: StandIns, make_redis_layer: MakeRedisLayer, side: str
) -> None:
    old, new = pair
    old.ask("REPLICAOF", "127.0.0.1", new.port)
    layer = watched(make_redis_layer, stand_ins(old.port))
    with pytest.raises(LayerUnavailable, match="that Sentinel names is a replica") as caught:
        layer.send("x", {}) if side == "threads" else in_loop(layer, layer.asend("x", {}))
    assert not caught.value.uncertain
    assert not isinstance(caught.value, LayerUnusable)


def test_nothing_that_lay_on_a_new_primary_is_delivered_and_all_of_it_is_counted(
    pair: list[OwnRedis], stand_ins: StandIns, make_redis_layer: MakeRedisLayer
) -> None:
    """What was taken from the old primary last may not have been replicated, and would come again."""
    old, new = pair
    sentinel = stand_ins(old.port)
    layer = watched(make_redis_layer, sentinel)
    for number in range(3):
        layer.send("x", {"n": number})
    copy(old, new)
    assert layer.receive(["x"])[1] == {"n": 0}
    sentinel.name(new.port)
    other = watched(make_redis_layer, sentinel)
    other.send("x", {"n": 3})
    assert [delivery.message["n"] for delivery in other.receive_batch(["x"], limit=9)] == [3]
    assert other.counters.possible_losses == 3
    assert other.counters.expired == 0
    # For as long as they live, and for who comes later.
    last = watched(make_redis_layer, sentinel)
    last.send("x", {"n": 4})
    assert last.receive(["x"])[1] == {"n": 4}


def test_memberships_that_a_new_primary_lacks_are_put_back(
    pair: list[OwnRedis], stand_ins: StandIns, make_redis_layer: MakeRedisLayer
) -> None:
    old, new = pair
    sentinel = stand_ins(old.port)
    process = watched(make_redis_layer, sentinel, presence=3)
    process.receive_batch(["process!"])
    copy(old, new)
    process.group_add("room", "process!a")
    process.receive_batch(["process!"])
    sentinel.name(new.port)

    def is_back() -> bool:
        try:
            process.receive_batch(["process!"])
        except LayerUnavailable:
            return False
        return bool(new.ask("KEYS", f"{process.prefix}m:room:*"))

    wait_until(is_back, "the member on the new primary", within=SOON)
    assert process.group_channels("room") == ["process!a"]


def test_what_a_process_was_told_of_its_members_is_no_message(
    pair: list[OwnRedis], stand_ins: StandIns, make_redis_layer: MakeRedisLayer
) -> None:
    old, new = pair
    sentinel = stand_ins(old.port)
    process = watched(make_redis_layer, sentinel)
    for member in "ab":
        process.group_add("room", f"process!{member}")
    process.receive_batch(["process!"])
    make_redis_layer(old.url).group_discard("room", "process!a")
    copy(old, new)
    sentinel.name(new.port)
    process.close()
    process.receive_batch(["process!"])
    process.send_group("room", {"n": 1})
    [delivery] = process.receive_batch(["process!"])
    assert list(delivery.members or ()) == ["b"]


def test_who_may_not_ask_if_it_is_the_primary_is_told_so(
    pair: list[OwnRedis], stand_ins: StandIns, make_redis_layer: MakeRedisLayer
) -> None:
    pair[0].ask("ACL", "SETUSER", "narrow", "on", ">secret", "~*", "+@all", "-info")
    user = {"username": "narrow", "password": "secret"}
    layer = watched(make_redis_layer, stand_ins(pair[0].port), connection_kwargs=user)
    with pytest.raises(LayerUnusable, match=r"does not let our user run INFO .* Allow its user \+info") as caught:
        layer.check()
    assert "secret" not in str(caught.value)


def test_the_watch_ends_with_the_layer(
    pair: list[OwnRedis], stand_ins: StandIns, make_redis_layer: MakeRedisLayer
) -> None:
    layer = watched(make_redis_layer, stand_ins(pair[0].port))
    layer.send("x", {})
    before = [thread for thread in threading.enumerate() if thread.name == "redis-sentinel"]
    assert before
    layer.close()
    for thread in before:
        thread.join(SOON)
        assert not thread.is_alive()
    layer.send("x", {})  # which begins again


def test_in_a_failover_under_load_nothing_comes_twice_and_all_is_well_after_the_promotion(
    sentinels: SentinelService, make_redis_layer: MakeRedisLayer
) -> None:
    with Traffic(make_redis_layer, ["numbers"], **sentinels.options) as traffic:
        old = sentinels.primary()
        sentinels.kill(old)
        new = sentinels.wait_for_failover(old)
        assert traffic.goes_on() < SOON
        # One that comes back takes itself for a primary, until a Sentinel tells it otherwise.
        sentinels.start_server(old)
        traffic.goes_on()
        assert sentinels.ask(old, "DBSIZE") == 0 or sentinels.ask(old, "ROLE")[0] == b"slave"
    assert sentinels.primary() == new
    traffic.check()


def test_a_log_of_a_failover_has_no_password(
    redis_server: str, make_redis_layer: MakeRedisLayer, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    """Passwords of the servers and of the Sentinels, which are not the same."""
    service = SentinelService(redis_server, tmp_path, password="open-sesame", sentinel_password="let-me-in")
    service.start()
    try:
        layer = make_redis_layer(**service.options)
        layer.send("x", {"n": 1})
        old = service.primary()
        service.kill(old)
        errors = []

        def sent() -> bool:
            try:
                layer.send("x", {"n": 2})
            except LayerUnavailable as error:
                errors.append(f"{error} {error!r} {error.__cause__!r}")
                return False
            return True

        wait_until(sent, "a new primary", within=40)
        wrong = make_redis_layer(**{**service.options, "sentinel_kwargs": {"password": "let-me-inn"}})
        with pytest.raises(LayerUnusable, match=r"The Sentinel at .* refuses us: .* in 'sentinel_kwargs'") as caught:
            wrong.check()
        said = caplog.text + "".join(errors) + str(caught.value)
        assert errors
        assert not re.search("sesame|let-me-in", said)
    finally:
        service.stop()
