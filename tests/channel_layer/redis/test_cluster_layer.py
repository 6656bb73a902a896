"""The layer over a cluster: its options, and where its parts lie. What it does is in ``test_layer.py``."""

from __future__ import annotations

from typing import Any

import pytest

from channel_layer.exceptions import LayerConfigurationError, LayerUnusable
from channel_layer.redis import RedisChannelLayer, RedisClusterChannelLayer

from .conftest import ClusterService, MakeClusterLayer, channels_of


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


def test_the_plain_layer_says_which_one_to_use(shared_cluster: ClusterService) -> None:
    layer = RedisChannelLayer(hosts=shared_cluster.addresses[:1])
    with pytest.raises(LayerUnusable, match=r"in cluster mode.*Use channel_layer\.redis\.RedisClusterChannelLayer"):
        layer.check()
    layer.close()


def test_its_name_is_that_of_the_first_node(make_cluster_layer: MakeClusterLayer) -> None:
    layer = make_cluster_layer(hosts=["rediss://:secret@one.test:7000", "redis://two.test:7001"])
    assert layer.describe() == "rediss+cluster://one.test:7000"


def test_any_node_leads_to_all_and_each_has_its_part(
    make_cluster_layer: MakeClusterLayer, shared_cluster: ClusterService
) -> None:
    last = make_cluster_layer(hosts=shared_cluster.addresses[-1:], prefix="parts:")
    for channel in channels_of(last):
        last.send(channel, {"n": 1})
    found = [shared_cluster.ask(port, "KEYS", "parts:*c:*") for port in shared_cluster.ports]
    assert sorted(map(len, found)) == [1, 1, 2]
    for channel in channels_of(last):
        assert last.receive([channel])[1] == {"n": 1}
    last.flush()
