"""Last wills over Redis, beside what the conformance suite asks: servers that are away, empty, frozen or several."""

from __future__ import annotations

import asyncio
import re
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from channel_layer.delivery import LastWill, Outgoing
from channel_layer.exceptions import LayerUnavailable
from channel_layer.redis import RedisChannelLayer, last_will_calls
from channel_layer.redis.cluster import slot_of, tags_for
from channel_layer.redis.last_will_calls import LastWillCalls
from channel_layer.redis.scripts import plain
from tests.conftest import wait_until

from .conftest import ClusterService, MakeClusterLayer, MakeRedisLayer, OwnRedis, Several

Eventually = Callable[..., Any]
SOON = 0.4


def leaving(layer: RedisChannelLayer, name: str, target: str = "connect") -> Outgoing:
    item = layer.prepare(target, {"name": name})
    item.last_will = LastWill(f"process!{name}", layer.prepare("gone", {"name": name}))
    return item


def withdrawing(layer: RedisChannelLayer, name: str) -> Outgoing:
    item = layer.prepare("gone", {"name": name, "real": True})
    item.last_will = LastWill(f"process!{name}", None)
    return item


def ask(layer: RedisChannelLayer, *command: Any, shard: int = 0) -> Any:
    [reply] = layer._sync.run(shard, [plain(*command)])
    return reply


def refusals(cluster: ClusterService, port: int) -> int:
    """How often a node has said that a key is elsewhere, or on its way."""
    text = cluster.ask(port, "INFO", "errorstats").decode()
    return sum(int(count) for count in re.findall(r"errorstat_(?:TRYAGAIN|ASK):count=(\d+)", text))


def ends(layer: RedisChannelLayer) -> list[str]:
    """What a survivor has received by now."""
    return [item.message["name"] for item in layer.receive_batch(["gone"], limit=1000, timeout=0.02)]


class Reading:
    """A process that goes on reading its own channel, whatever happens to the server."""

    def __init__(self, layer: RedisChannelLayer) -> None:
        self._layer = layer
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._layer.receive_batch(["process!"], timeout=0.1)
            except LayerUnavailable:
                self._stop.wait(0.05)

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)


def test_a_last_will_rides_with_its_message_in_one_call_and_leaves_nothing_behind(
    redis_url: str, make_redis_layer: MakeRedisLayer
) -> None:
    layer = make_redis_layer(redis_url)
    [call] = layer._plan.send([leaving(layer, "a"), leaving(layer, "b"), leaving(layer, "c")]).calls[0]
    layer.send_batch([leaving(layer, "a"), leaving(layer, "b")])
    assert ask(layer, "HLEN", layer.prefix + "w:process!") == 2
    assert 0 < ask(layer, "PTTL", layer.prefix + "w:process!") <= layer.group_expiry * 1000
    layer.send_batch([withdrawing(layer, "a"), withdrawing(layer, "b")])
    assert ask(layer, "EXISTS", layer.prefix + "w:process!") == 0
    assert call.command()[0] == "EVALSHA"


def test_an_idle_process_is_seen_to_once_in_the_time_of_its_presence_and_forgotten_without_last_wills(
    redis_url: str, make_redis_layer: MakeRedisLayer
) -> None:
    layer = make_redis_layer(redis_url, presence=SOON)
    layer.receive_batch(["process!"])
    layer.send_batch([leaving(layer, "a")])
    due = float(ask(layer, "ZSCORE", layer.prefix + "w:", "process!"))
    layer.send_batch([withdrawing(layer, "a")])
    assert ask(layer, "ZSCORE", layer.prefix + "w:", "process!") is not None
    time.sleep(SOON * 1.1)
    ends(layer)
    assert ask(layer, "ZSCORE", layer.prefix + "w:", "process!") is None
    seconds, micros = ask(layer, "TIME")
    assert due <= int(seconds) * 1000 + int(micros) / 1000


def test_last_wills_of_several_processes_are_carried_out_though_one_channel_is_full(
    redis_url: str, make_redis_layer: MakeRedisLayer, eventually: Eventually
) -> None:
    one = make_redis_layer(redis_url, presence=SOON, channel_capacity={"full": 1})
    one.send("full", {})
    for process in ("aaa!x", "bbb!x"):
        item = one.prepare("connect", {})
        target = "full" if process == "aaa!x" else "gone"
        item.last_will = LastWill(process, one.prepare(target, {"name": process}))
        one.send_batch([item])
    eventually(lambda: ends(one) == ["bbb!x"], "the last will for the other channel")
    assert one.channel_statistics("full")["messages_pending"] == 1
    assert one.receive(["full"]) == ("full", {})
    eventually(lambda: one.receive(["full"]) == ("full", {"name": "aaa!x"}), "the one that found no room")


def test_what_is_no_last_will_is_dropped(
    redis_url: str, make_redis_layer: MakeRedisLayer, eventually: Eventually
) -> None:
    layer = make_redis_layer(redis_url, presence=SOON)
    layer.send_batch([leaving(layer, "a")])
    ask(layer, "HSET", layer.prefix + "w:process!", "junk", "\x00\xff", "more", "1:")
    eventually(lambda: ends(layer) == ["a"], "the last will")
    eventually(lambda: ends(layer) or ask(layer, "EXISTS", layer.prefix + "w:process!") == 0, "the junk to go")


def test_a_look_that_ends_with_an_error_sends_nothing_again(
    redis_url: str, make_redis_layer: MakeRedisLayer, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    layer = make_redis_layer(redis_url, presence=SOON)
    layer.send_batch([leaving(layer, "a"), leaving(layer, "b")])
    ask(layer, "SET", layer.prefix + "s:gone", "none of ours")
    found: list[str] = []
    eventually(lambda: found.extend(ends(layer)) or len(found) >= 2, "the last wills")
    assert "heartbeats or last wills have to wait: WRONGTYPE" in caplog.text
    until = time.monotonic() + 2 * SOON
    while time.monotonic() < until:
        found += ends(layer)
    assert sorted(found) == ["a", "b"]
    assert sorted(ask(layer, "SMEMBERS", layer.prefix + "x:process!")) == [b"a", b"b"]


def test_a_last_will_that_is_due_while_its_slot_moves_waits_for_the_move_and_is_sent_once(
    make_cluster_layer: MakeClusterLayer, shared_cluster: ClusterService
) -> None:
    layer = make_cluster_layer(hosts=shared_cluster.addresses, prefix=f"{uuid.uuid4().hex}:", tags=1, presence=SOON)
    keys, slot = layer._storage.keys[0], slot_of(tags_for(1)[0])
    look = LastWillCalls(layer._storage).carry_out(0)
    declared = [keys.processes, keys.all_statistics]
    others = [keys.last_wills + "process!", keys.queues + "gone", keys.statistics("gone")]
    others += [keys.carried_out + "process!", keys.marks + "process!"]
    ahead = [[], *([key] for key in (*declared, *others)), *([key for key in others if key != one] for one in others)]
    for turn, moved in enumerate(ahead):
        source = shared_cluster.node_of(slot, shared_cluster.ports[0])
        target = next(port for port in shared_cluster.ports if port != source)
        layer.send("gone", {"name": "before"})
        layer.send_batch([leaving(layer, f"{turn}")])
        layer._sync.run(0, [plain("ZADD", keys.processes, 1, "process!"), plain("SET", keys.marks + "process!", "")])
        shared_cluster.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", shared_cluster.identity(source))
        shared_cluster.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", shared_cluster.identity(target))
        shared_cluster.migrate(source, target, moved)
        for _ in range(2):
            with pytest.raises(redis.ResponseError):
                shared_cluster.ask(source, *look.command_with_text())
        shared_cluster.migrate(source, target, shared_cluster.ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 1000))
        for port in (target, source):
            shared_cluster.ask(port, "CLUSTER", "SETSLOT", slot, "NODE", shared_cluster.identity(target))
        found: list[str] = []
        wait_until(lambda: found.extend(ends(layer)) or str(turn) in found, "the last will")  # noqa: B023 - awaited here
        assert found == ["before", f"{turn}"]
        assert ends(layer) == []


@pytest.mark.parametrize("withdraws", [False, True], ids=["leaves", "withdraws"])
def test_what_comes_with_a_last_will_while_its_slot_moves_waits_for_the_move(
    withdraws: bool, make_cluster_layer: MakeClusterLayer, shared_cluster: ClusterService
) -> None:
    layer = make_cluster_layer(hosts=shared_cluster.addresses, prefix=f"{uuid.uuid4().hex}:", tags=1)
    keys, slot = layer._storage.keys[0], slot_of(tags_for(1)[0])
    for moved in (keys.last_wills + "process!", keys.carried_out + "process!"):
        layer.send_batch([leaving(layer, "a")])
        layer._sync.run(0, [plain("SADD", keys.carried_out + "process!", "another")])
        source = shared_cluster.node_of(slot, shared_cluster.ports[0])
        target = next(port for port in shared_cluster.ports if port != source)
        shared_cluster.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", shared_cluster.identity(source))
        shared_cluster.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", shared_cluster.identity(target))
        shared_cluster.migrate(source, target, [moved])
        item = withdrawing(layer, "a") if withdraws else leaving(layer, "b")
        before = refusals(shared_cluster, source)
        with ThreadPoolExecutor(1) as thread:
            sending = thread.submit(layer.send_batch, [item])
            wait_until(lambda: sending.done() or refusals(shared_cluster, source) > before, "it to be refused")  # noqa: B023
            left = shared_cluster.ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 1000)
            shared_cluster.migrate(source, target, left)
            for port in (target, source):
                shared_cluster.ask(port, "CLUSTER", "SETSLOT", slot, "NODE", shared_cluster.identity(target))
            assert sending.result(10) == []


def test_a_server_that_was_frozen_lets_those_who_live_show_it_first(
    own_redis: OwnRedis, make_redis_layer: MakeRedisLayer, eventually: Eventually
) -> None:
    process, survivor = make_redis_layer(own_redis.url, presence=2), make_redis_layer(own_redis.url, presence=2)
    process.send_batch([leaving(process, "a")])
    with Reading(process):
        eventually(lambda: ask(survivor, "EXISTS", survivor.prefix + "p:process!"), "the process to be present")
        own_redis.freeze()
        time.sleep(2.5)
        own_redis.thaw()
        until = time.monotonic() + 2
        while time.monotonic() < until:
            assert ends(survivor) == []
        process.send_batch([withdrawing(process, "a")])
        eventually(lambda: ends(survivor) == ["a"], "the message that withdrew it")


def test_a_server_that_comes_back_empty_is_told_to_the_owner_who_leaves_the_last_wills_again(
    own_redis: OwnRedis, make_redis_layer: MakeRedisLayer, eventually: Eventually
) -> None:
    process, survivor = make_redis_layer(own_redis.url, presence=SOON), make_redis_layer(own_redis.url, presence=SOON)
    told: list[Collection[str]] = []
    process.watch_last_wills("process!", told.append)
    with Reading(process):
        process.send_batch([leaving(process, "a"), leaving(process, "b")])
        own_redis.kill()
        own_redis.start()
        eventually(lambda: told, "the owner to be told")
        assert list(told[-1]) == []
        again = Outgoing("gone", b"")
        again.last_will = leaving(process, "a").last_will
        # A disconnect that was not sent before the loss is not taken for one that others have sent.
        eventually(lambda: answers(process), "the server")
        assert process.send_batch([again, withdrawing(process, "b")]) == []
        eventually(lambda: ends(survivor) == ["b"], "the real one")
    eventually(lambda: ends(survivor) == ["a"], "the last will")


def answers(layer: RedisChannelLayer) -> bool:
    """Whether the server answers; the first call after an outage may find that its connection is dead."""
    try:
        layer.check()
    except LayerUnavailable:
        return False
    return True


def test_a_process_that_was_held_up_learns_it_although_somebody_added_it_to_a_group_meanwhile(
    redis_url: str, make_redis_layer: MakeRedisLayer, eventually: Eventually
) -> None:
    process, worker = make_redis_layer(redis_url, presence=SOON), make_redis_layer(redis_url, presence=SOON)
    told: list[Collection[str]] = []
    process.watch_last_wills("process!", told.append)
    process.receive_batch(["process!"])
    time.sleep(SOON / 10)
    process.receive_batch(["process!"])
    process.send_batch([leaving(process, "a")])
    eventually(lambda: ends(worker) == ["a"], "the last will")
    worker.group_add("room", "process!a")
    assert ask(worker, "EXISTS", worker.prefix + "p:process!") == 1
    process.receive_batch(["process!"])
    assert [set(names) for names in told] == [{"a"}]


def test_the_async_side_carries_out_and_is_told_too(redis_url: str, make_redis_layer: MakeRedisLayer) -> None:
    process, survivor = make_redis_layer(redis_url, presence=SOON), make_redis_layer(redis_url, presence=SOON)
    told: list[Collection[str]] = []
    process.watch_last_wills("process!", told.append)

    async def test() -> None:
        async with asyncio.timeout(20):
            await process.areceive_batch(["process!"])
            assert await process.asend_batch([leaving(process, "a")]) == []
            while not (found := await survivor.areceive_batch(["gone"], timeout=0.05)):
                continue
            assert found[0].message == {"name": "a"}
            await process.areceive_batch(["process!"])
        await process.aclose()
        await survivor.aclose()

    asyncio.run(test())
    assert [set(names) for names in told] == [{"a"}]


def test_more_than_one_chunk_is_carried_out_at_once(
    redis_url: str, make_redis_layer: MakeRedisLayer, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(last_will_calls, "CHUNK", 3)
    layer = make_redis_layer(redis_url, presence=SOON)
    names = {f"{n}" for n in range(20)}
    layer.send_batch([leaving(layer, name) for name in names])
    found: list[str] = []
    eventually(lambda: found.extend(ends(layer)) or len(found) == len(names), "the last wills")
    assert set(found) == names


@pytest.fixture
def spread(redis_url: str) -> Iterator[Callable[[], RedisChannelLayer]]:
    prefix = f"test-{uuid.uuid4().hex}:"
    made: list[RedisChannelLayer] = []

    def make() -> RedisChannelLayer:
        hosts = [f"{redis_url.rpartition('/')[0]}/{database}" for database in range(3)]
        made.append(RedisChannelLayer(hosts=hosts, prefix=prefix, presence=SOON))
        return made[-1]

    yield make
    for layer in made:
        layer.flush()
        layer.close()


@pytest.mark.parametrize("homes", [(0, 1, 2), (0, 0, 1), (0, 1, 1), (1, 0, 1)], ids=str)
def test_with_several_servers_a_last_will_lies_where_its_channel_is_and_lives_with_its_process(
    spread: Callable[[], RedisChannelLayer], homes: tuple[int, int, int], eventually: Eventually
) -> None:
    process, survivor = spread(), spread()
    several = Several(process)
    reader, connect, gone = several.name(homes[0], "!"), several.name(homes[1]), several.name(homes[2])
    item = process.prepare(connect, {})
    item.last_will = LastWill(reader + "a", process.prepare(gone, {"name": "a"}))
    assert process.send_batch([item]) == []
    assert ask(survivor, "HLEN", f"{survivor.prefix}w:{reader}", shard=homes[2]) == 1
    assert survivor.receive_batch([connect]) != []
    # It lives as long as its process reads, wherever that is.
    until = time.monotonic() + 3 * SOON
    while time.monotonic() < until:
        process.receive_batch([reader], timeout=0.01)
        assert survivor.receive_batch([gone]) == []
    [delivery] = eventually(lambda: survivor.receive_batch([gone], timeout=0.02), "the last will")
    assert delivery.message == {"name": "a"}


def test_with_several_servers_a_last_will_that_could_not_be_left_is_asked_for_again(
    own_redis: OwnRedis, redis_url: str, eventually: Eventually
) -> None:
    layer = RedisChannelLayer(hosts=[redis_url, own_redis.url], prefix=f"test-{uuid.uuid4().hex}:", presence=SOON)
    several = Several(layer)
    reader, connect, gone = several.name(0, "!"), several.name(0), several.name(1)
    told: list[Collection[str]] = []
    layer.watch_last_wills(reader, told.append)
    item = layer.prepare(connect, {})
    item.last_will = LastWill(reader + "a", layer.prepare(gone, {}))
    own_redis.kill()
    assert layer.send_batch([item]) == [], "the message was stored"
    own_redis.start()
    eventually(lambda: layer.receive_batch([reader], timeout=0.02) or told, "the owner to be told")
    assert [list(names) for names in told] == [[]]
    layer.close()


def test_another_server_that_has_lost_its_last_wills_is_told_to_the_owner(
    own_redis: OwnRedis, redis_url: str, make_redis_layer: MakeRedisLayer, eventually: Eventually
) -> None:
    layer = make_redis_layer(redis_url, own_redis.url, presence=SOON)
    several = Several(layer)
    reader, connect, gone = several.name(0, "!"), several.name(0), several.name(1)
    told: list[Collection[str]] = []
    layer.watch_last_wills(reader, told.append)

    def has_shown_itself() -> bool:
        layer.receive_batch([reader], timeout=0.02)
        return bool(own_redis.ask("EXISTS", f"{layer.prefix}p:{reader}"))

    item = layer.prepare(connect, {})
    item.last_will = LastWill(reader + "a", layer.prepare(gone, {}))
    assert layer.send_batch([item]) == []
    eventually(has_shown_itself, "the heartbeat on the other server")
    assert told == []
    own_redis.kill()
    own_redis.start()
    eventually(lambda: layer.receive_batch([reader], timeout=0.02) or told, "the owner to be told")
    assert list(told[0]) == []


def test_one_of_several_servers_that_was_frozen_lets_those_who_live_show_it_and_reports_the_others_once(
    three_redis: list[OwnRedis], make_redis_layer: MakeRedisLayer, eventually: Eventually
) -> None:
    def make() -> RedisChannelLayer:
        return make_redis_layer(*(server.url for server in three_redis), presence=2)

    living, dead, *survivors = make(), make(), make(), make()
    several = Several(living)
    connect, gone = several.name(1), several.name(2)
    readers = {"living": several.name(0, "living!"), "dead": several.name(0, "dead!")}
    for layer, name in ((living, "living"), (dead, "dead")):
        layer.receive_batch([readers[name]])
        items = []
        for local in "abc":
            item = layer.prepare(connect, {})
            item.last_will = LastWill(readers[name] + local, layer.prepare(gone, {"name": name + local}))
            items.append(item)
        assert layer.send_batch(items) == []
        layer.receive_batch([readers[name]])  # it shows itself where its last wills are
    stop = threading.Event()
    found: list[str] = []

    def live() -> None:
        while not stop.is_set():
            living.receive_batch([readers["living"]], timeout=0.1)

    def survive(layer: RedisChannelLayer) -> None:
        while not stop.is_set():
            try:
                found.extend(item.message["name"] for item in layer.receive_batch([gone], limit=9, timeout=0.1))
            except LayerUnavailable:
                stop.wait(0.05)

    threads = [threading.Thread(target=live), *(threading.Thread(target=survive, args=[one]) for one in survivors)]
    three_redis[2].freeze()
    for thread in threads:
        thread.start()
    time.sleep(2.5)
    three_redis[2].thaw()
    try:
        eventually(lambda: len(found) >= 3, "the last wills of the dead")
        time.sleep(1)
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert sorted(found) == ["deada", "deadb", "deadc"]


def test_a_process_that_disappears_again_is_doubted_again(redis_url: str, make_redis_layer: MakeRedisLayer) -> None:
    process, survivor = make_redis_layer(redis_url), make_redis_layer(redis_url)
    process.receive_batch(["process!"])
    process.send_batch([leaving(process, "a")])

    def look() -> int:
        """A survivor looks at the process, and this is how many last wills remain."""
        ask(survivor, "ZADD", survivor.prefix + "w:", 0, "process!")
        survivor._sync.run(0, [survivor._last_wills._calls.carry_out(0)])
        return int(ask(survivor, "HLEN", survivor.prefix + "w:process!"))

    def disappear() -> None:
        ask(process, "DEL", process.prefix + "p:process!")

    disappear()
    assert look() == 1, "it is doubted"
    process._presence.reconnect(0, ["process!"])
    process.receive_batch(["process!"])
    assert look() == 1, "it was there"
    disappear()
    assert look() == 1, "it is doubted anew"
    assert look() == 0
    assert ends(survivor) == ["a"]
