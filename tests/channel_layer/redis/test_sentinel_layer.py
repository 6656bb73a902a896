from __future__ import annotations

import pytest

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.redis import RedisSentinelChannelLayer


def test_services_are_missing() -> None:
    with pytest.raises(LayerConfigurationError, match="'services' is missing: a list of names"):
        RedisSentinelChannelLayer(hosts=[("localhost", 26379)])


def test_hosts_are_sentinels() -> None:
    layer = RedisSentinelChannelLayer(hosts=[("one.test", 26379)], services=["a", "b"], prefix="x:")
    assert layer.describe() == "redis+sentinel://a/0, redis+sentinel://b/0"
    layer.close()
