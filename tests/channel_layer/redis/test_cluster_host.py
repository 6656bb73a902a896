"""A real cluster under load: nodes that are killed and frozen, slots that move."""

from __future__ import annotations

import pytest

from channel_layer.exceptions import LayerUnavailable
from tests.conftest import wait_until

from .conftest import ClusterService, MakeClusterLayer, channels_of, slot_of_name
from .traffic import Traffic

SOON = 15.0


def test_a_node_that_is_killed_is_replaced_by_its_replica(
    make_cluster_layer: MakeClusterLayer, cluster: ClusterService
) -> None:
    options = {"hosts": cluster.addresses[:3]}
    channels = channels_of(make_cluster_layer(**options))
    with Traffic(make_cluster_layer, channels, **options) as traffic:
        asked = make_cluster_layer(**options)
        moving = slot_of_name(asked, channels[0])
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
def test_a_node_that_was_frozen_meanwhile_is_not_used_any_more(
    make_cluster_layer: MakeClusterLayer, cluster: ClusterService
) -> None:
    options = {"hosts": cluster.addresses[:3]}
    channels = channels_of(make_cluster_layer(**options))
    with Traffic(make_cluster_layer, channels, **options) as traffic:
        moving = slot_of_name(traffic.sender, channels[-1])
        old = cluster.node_of(moving, cluster.ports[0])
        witness = next(port for port in cluster.ports if port != old)
        cluster.freeze(old)
        wait_until(lambda: cluster.node_of(moving, witness) != old, "the promotion", within=40)
        traffic.goes_on()
        cluster.thaw(old)
        wait_until(lambda: cluster.is_complete(old), "the old node as a replica")
        traffic.goes_on()
    traffic.check()


@pytest.mark.slow
def test_slots_move_under_load_and_nothing_is_lost(
    make_cluster_layer: MakeClusterLayer, cluster: ClusterService
) -> None:
    options = {"hosts": cluster.addresses[:3]}
    layer = make_cluster_layer(**options)
    channels = channels_of(layer)
    groups = channels_of(layer, ".group")
    for group in groups:
        for number in range(300):
            layer.group_add(group, f"process{number}!a")
    with Traffic(make_cluster_layer, channels, **options) as traffic:
        source = cluster.node_of(slot_of_name(layer, channels[0]), cluster.ports[0])
        target = next(
            port for first, _, (_, port, *_), *_ in cluster.ask(cluster.ports[0], "CLUSTER", "SLOTS") if port != source
        )
        identities = ["--cluster-from", cluster.identity(source), "--cluster-to", cluster.identity(target)]
        cluster.manage("reshard", f"127.0.0.1:{source}", *identities, "--cluster-slots", "16384", "--cluster-yes")
        traffic.goes_on()
        assert cluster.node_of(slot_of_name(layer, channels[0]), source) == target
    traffic.check()
    assert set(traffic.got) >= traffic.acknowledged
    assert traffic.doubtful == set()


@pytest.mark.slow
def test_a_replica_that_takes_over_has_the_members_put_back(
    make_cluster_layer: MakeClusterLayer, cluster: ClusterService
) -> None:
    options = {"hosts": cluster.addresses[:3], "presence": 3}
    process, other = make_cluster_layer(**options), make_cluster_layer(**options)
    groups = channels_of(process, ".group")
    process.receive_batch(["process!"])
    for group in groups:
        other.group_add(group, "process!a")
    process.receive_batch(["process!"])
    old = cluster.node_of(slot_of_name(process, groups[0]), cluster.ports[0])
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
