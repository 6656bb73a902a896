"""A real cluster: nodes that are killed and frozen, slots that move, under load."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable, LayerUnusable
from channel_layer.redis import RedisChannelLayer, RedisClusterChannelLayer
from channel_layer.redis.cluster import SLOTS, slot_of, tags_for
from channel_layer.redis.cluster_host import ClusterHost
from tests.conftest import wait_until

from .conftest import ClusterService, OwnRedis, Several, in_loop
from .traffic import Traffic

TAGS = 4
SOON = 15.0

Make = Callable[..., RedisClusterChannelLayer]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes layers with one prefix, and closes them afterwards."""
    made: list[RedisClusterChannelLayer] = []

    def make(**options: Any) -> RedisClusterChannelLayer:
        made.append(RedisClusterChannelLayer(**{"tags": TAGS, "prefix": "test:", **options}))
        return made[-1]

    yield make
    for layer in made:
        layer.close()


def channels_of(layer: RedisChannelLayer, ending: str = "") -> list[str]:
    """A name on each tag."""
    several = Several(layer)
    return [several.name(shard, ending) for shard in range(TAGS)]


def slot(layer: RedisChannelLayer, name: str) -> int:
    """The slot of a channel or group."""
    return slot_of(tags_for(TAGS)[layer._storage.host_of(name)])


@pytest.mark.parametrize("count", [1, 3, 16, 256])
def test_tags_have_slots_at_equal_distances(count: int) -> None:
    slots = [slot_of(tag) for tag in tags_for(count)]
    assert [slot * count // SLOTS for slot in slots] == list(range(count))
    assert tags_for(count) == tags_for(count)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tags": 0}, "'tags' is a number from 1 to 256, not 0"),
        ({"tags": "16"}, "'tags' is a number from 1 to 256, not '16'"),
        ({"prefix": "a{b}:"}, "'prefix' must have no braces"),
        ({"hosts": "redis://x"}, "'hosts' must be a list of nodes, not str"),
        ({"hosts": ["redis://x", "redis://x/1"]}, r"hosts\[1\] \(redis://x/1\) cannot be a node of a cluster"),
        ({"hosts": ["unix:///run/redis"]}, r"hosts\[0\] \(unix:///run/redis\) cannot be a node of a cluster"),
        ({"hosts": [{"sentinels": [("x", 1)], "master_name": "y"}]}, r"hosts\[0\] names a service of Sentinel"),
        ({"hosts": [{"host": "x", "prot": 1}]}, "redis-py has no option 'prot'"),
    ],
)
def test_a_wrong_configuration_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(LayerConfigurationError, match=said):
        RedisClusterChannelLayer(**options)


def test_a_server_that_is_in_no_cluster_is_refused(make: Make, redis_url: str) -> None:
    with pytest.raises(LayerUnusable, match=r"not in cluster mode\. Give 'hosts' nodes of a cluster") as caught:
        make(hosts=[redis_url.rpartition("/")[0]]).check()
    assert not caught.value.uncertain


def test_the_plain_layer_says_which_one_to_use(shared_cluster: ClusterService) -> None:
    layer = RedisChannelLayer(hosts=shared_cluster.addresses[:1])
    with pytest.raises(LayerUnusable, match=r"in cluster mode.*Use channel_layer\.redis\.RedisClusterChannelLayer"):
        layer.check()
    layer.close()


def test_without_a_node_that_answers_it_is_away(make: Make, own_redis: OwnRedis) -> None:
    own_redis.kill()
    layer = make(hosts=[("127.0.0.1", own_redis.port)])
    with pytest.raises(LayerUnavailable, match="none of its nodes answers") as caught:
        layer.send("x", {})
    assert not caught.value.uncertain
    with pytest.raises(LayerUnavailable):
        in_loop(layer, layer.areceive_batch(["x"]))


def test_its_name_is_that_of_the_first_node(make: Make) -> None:
    layer = make(hosts=["rediss://:secret@one.test:7000", "redis://two.test:7001"])
    assert layer.describe() == "rediss+cluster://one.test:7000"


def test_any_node_leads_to_all_and_each_has_its_part(make: Make, shared_cluster: ClusterService) -> None:
    last = make(hosts=shared_cluster.addresses[-1:], prefix="parts:")
    for channel in channels_of(last):
        last.send(channel, {"n": 1})
    found = [shared_cluster.ask(port, "KEYS", "parts:*c:*") for port in shared_cluster.ports]
    assert sorted(map(len, found)) == [1, 1, 2]
    for channel in channels_of(last):
        assert last.receive([channel])[1] == {"n": 1}
    last.flush()


def test_a_node_that_is_killed_is_replaced_by_its_replica(make: Make, cluster: ClusterService) -> None:
    options = {"hosts": cluster.addresses[:3]}
    channels = channels_of(make(**options))
    with Traffic(make, channels, **options) as traffic:
        asked = make(**options)
        moving = slot(asked, channels[0])
        old = cluster.node_of(moving, cluster.ports[0])
        witness = next(port for port in cluster.ports if port != old)
        cluster.kill(old)
        wait_until(lambda: cluster.node_of(moving, witness) != old, "the promotion", within=40)
        assert traffic.goes_on() < SOON
        cluster.start_node(old)
        wait_until(lambda: cluster.is_complete(old), "the old node as a replica")
        traffic.goes_on()
    traffic.check()


@pytest.mark.slow
def test_a_node_that_was_frozen_meanwhile_is_not_used_any_more(make: Make, cluster: ClusterService) -> None:
    options = {"hosts": cluster.addresses[:3]}
    channels = channels_of(make(**options))
    with Traffic(make, channels, **options) as traffic:
        moving = slot(traffic.sender, channels[-1])
        old = cluster.node_of(moving, cluster.ports[0])
        witness = next(port for port in cluster.ports if port != old)
        cluster.signal(old, signal.SIGSTOP)
        wait_until(lambda: cluster.node_of(moving, witness) != old, "the promotion", within=40)
        traffic.goes_on()
        cluster.signal(old, signal.SIGCONT)
        wait_until(lambda: cluster.is_complete(old), "the old node as a replica")
        traffic.goes_on()
    traffic.check()


@pytest.mark.slow
def test_slots_move_under_load_and_nothing_is_lost(make: Make, cluster: ClusterService) -> None:
    options = {"hosts": cluster.addresses[:3]}
    layer = make(**options)
    channels = channels_of(layer)
    groups = channels_of(layer, ".group")
    for group in groups:
        for number in range(300):
            layer.group_add(group, f"process{number}!a")
    with Traffic(make, channels, **options) as traffic:
        source = cluster.node_of(slot(layer, channels[0]), cluster.ports[0])
        target = next(
            port for first, _, (_, port, *_), *_ in cluster.ask(cluster.ports[0], "CLUSTER", "SLOTS") if port != source
        )
        identities = ["--cluster-from", cluster.identity(source), "--cluster-to", cluster.identity(target)]
        cluster.manage("reshard", f"127.0.0.1:{source}", *identities, "--cluster-slots", "16384", "--cluster-yes")
        traffic.goes_on()
        assert cluster.node_of(slot(layer, channels[0]), source) == target
    traffic.check()
    assert set(traffic.got) >= traffic.acknowledged
    assert traffic.doubtful == set()


@pytest.mark.slow
def test_a_replica_that_takes_over_has_the_members_put_back(make: Make, cluster: ClusterService) -> None:
    options = {"hosts": cluster.addresses[:3], "presence": 3}
    process, other = make(**options), make(**options)
    groups = channels_of(process, ".group")
    process.receive_batch(["process!"])
    for group in groups:
        other.group_add(group, "process!a")
    process.receive_batch(["process!"])
    old = cluster.node_of(slot(process, groups[0]), cluster.ports[0])
    cluster.kill(old)
    got: set[str] = set()

    def all_have_come() -> bool:
        for group in groups:
            try:
                other.send_group(group, {"group": group})
                got.update(item.message["group"] for item in process.receive_batch(["process!"], limit=10))
            except LayerUnavailable:
                continue
        return got == set(groups)

    wait_until(all_have_come, "messages to all groups", within=40)


def test_a_user_who_may_not_ask_for_the_slots_is_told_so(make: Make, shared_cluster: ClusterService) -> None:
    for port in shared_cluster.ports:
        shared_cluster.ask(port, "ACL", "SETUSER", "narrow", "on", ">secret", "~*", "+@all", "-cluster|slots")
    user = {"username": "narrow", "password": "secret"}
    with pytest.raises(LayerUnusable, match=r"CLUSTER SLOTS .* Allow its user \+cluster\|slots") as caught:
        make(hosts=shared_cluster.addresses, connection_kwargs=user).check()
    assert "secret" not in str(caught.value)
    for port in shared_cluster.ports:
        shared_cluster.ask(port, "ACL", "SETUSER", "narrow", "+cluster|slots")
    make(hosts=shared_cluster.addresses, connection_kwargs=user).check()


@pytest.mark.slow
def test_nobody_waits_on_the_event_loop_for_a_node_that_is_asked_where_the_slots_are(
    make: Make, cluster: ClusterService
) -> None:
    layer = make(hosts=cluster.addresses)
    [moved, *_] = layer._hosts
    assert isinstance(moved, ClusterHost)

    async def test() -> None:
        await layer.areceive_batch(["x"])
        for port in cluster.ports:
            cluster.signal(port, signal.SIGSTOP)
        moved.moved(("127.0.0.1", cluster.ports[0]))  # so that somebody has to be asked again
        asking = asyncio.create_task(asyncio.to_thread(moved._guide.cluster.learn))
        await asyncio.sleep(0.6)
        began = time.monotonic()
        moved.moved(("127.0.0.1", cluster.ports[1]))
        assert not asking.done()
        assert time.monotonic() - began < 0.5
        for port in cluster.ports:
            cluster.signal(port, signal.SIGCONT)
        await asking

    in_loop(layer, test())
