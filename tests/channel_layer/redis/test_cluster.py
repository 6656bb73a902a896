"""Where the slots of a real cluster are, and who may ask."""

from __future__ import annotations

import asyncio
import time

import pytest

from channel_layer.exceptions import LayerUnavailable, LayerUnusable
from channel_layer.redis.cluster import SLOTS, slot_of, tags_for
from channel_layer.redis.cluster_host import ClusterHost

from .conftest import ClusterService, MakeClusterLayer, OwnRedis, in_loop


@pytest.mark.parametrize("count", [1, 3, 16, 256])
def test_tags_have_slots_at_equal_distances(count: int) -> None:
    slots = [slot_of(tag) for tag in tags_for(count)]
    assert [slot * count // SLOTS for slot in slots] == list(range(count))
    assert tags_for(count) == tags_for(count)


def test_a_server_that_is_in_no_cluster_is_refused(make_cluster_layer: MakeClusterLayer, redis_url: str) -> None:
    with pytest.raises(LayerUnusable, match=r"not in cluster mode\. Give 'hosts' nodes of a cluster") as caught:
        make_cluster_layer(hosts=[redis_url.rpartition("/")[0]]).check()
    assert not caught.value.uncertain


def test_without_a_node_that_answers_it_is_away(make_cluster_layer: MakeClusterLayer, own_redis: OwnRedis) -> None:
    own_redis.kill()
    layer = make_cluster_layer(hosts=[("127.0.0.1", own_redis.port)])
    with pytest.raises(LayerUnavailable, match="none of its nodes answers") as caught:
        layer.send("x", {})
    assert not caught.value.uncertain
    with pytest.raises(LayerUnavailable):
        in_loop(layer, layer.areceive_batch(["x"]))


def test_a_user_who_may_not_ask_for_the_slots_is_told_so(
    make_cluster_layer: MakeClusterLayer, shared_cluster: ClusterService
) -> None:
    for port in shared_cluster.ports:
        shared_cluster.ask(port, "ACL", "SETUSER", "narrow", "on", ">secret", "~*", "+@all", "-cluster|slots")
    user = {"username": "narrow", "password": "secret"}
    with pytest.raises(LayerUnusable, match=r"CLUSTER SLOTS .* Allow its user \+cluster\|slots") as caught:
        make_cluster_layer(hosts=shared_cluster.addresses, connection_kwargs=user).check()
    assert "secret" not in str(caught.value)
    for port in shared_cluster.ports:
        shared_cluster.ask(port, "ACL", "SETUSER", "narrow", "+cluster|slots")
    make_cluster_layer(hosts=shared_cluster.addresses, connection_kwargs=user).check()


@pytest.mark.slow
def test_nobody_waits_on_the_event_loop_for_a_node_that_is_asked_where_the_slots_are(
    make_cluster_layer: MakeClusterLayer, cluster: ClusterService
) -> None:
    layer = make_cluster_layer(hosts=cluster.addresses)
    [moved, *_] = layer._hosts
    assert isinstance(moved, ClusterHost)

    async def test() -> None:
        await layer.areceive_batch(["x"])
        for port in cluster.ports:
            cluster.freeze(port)
        moved.moved(("127.0.0.1", cluster.ports[0]))  # so that somebody has to be asked again
        asking = asyncio.create_task(asyncio.to_thread(moved._guide.cluster.learn))
        await asyncio.sleep(0.6)
        began = time.monotonic()
        moved.moved(("127.0.0.1", cluster.ports[1]))
        assert not asking.done()
        assert time.monotonic() - began < 0.5
        for port in cluster.ports:
            cluster.thaw(port)
        await asking

    in_loop(layer, test())
