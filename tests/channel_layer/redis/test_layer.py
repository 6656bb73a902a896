"""The public suite on a real Redis: with one server, with several, and encrypted."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from channel_layer.conformance import ConformanceSuite, MakeLayer
from channel_layer.redis import RedisChannelLayer, RedisClusterChannelLayer, scripts

from .conftest import ClusterService, SentinelService

LATER = """local now = redis.call('TIME')
local micro = now[1] * 1000000 + now[2] + {micro}
now = {{ string.format('%d', math.floor(micro / 1000000)), string.format('%d', micro % 1000000) }}
"""
"""The server's time as the layer is to see it, so much later."""


class ServerTime:
    """The time of the Redis servers, moved: in every script, and in every answer to ``TIME``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self._ahead = 0.0
        self._texts = {script: script.text for script in (*scripts.ALL, *scripts.FOR_OPERATORS)}

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    def move(self, seconds: float) -> None:
        self._ahead += seconds
        later = LATER.format(micro=round(self._ahead * 1_000_000))
        for script, text in self._texts.items():
            assert text.count(b"redis.call('TIME')") == 1
            moved = text.replace(b"local now = redis.call('TIME')\n", later.encode())
            self._patch.setattr(script, "text", moved)
            self._patch.setattr(script, "digest", hashlib.sha1(moved).hexdigest())
        self._patch.setattr(scripts.TIME, "_words", scripts.FixedWords(("EVAL", later + "return now", 0)))


class TestOneServer(ConformanceSuite):
    elsewhere: ClassVar[dict[str, Any] | None] = {"prefix": "another-project:"}
    databases: ClassVar[tuple[int, ...]] = (0,)
    kind: ClassVar[type[RedisChannelLayer]] = RedisChannelLayer
    config: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def server_time(self, monkeypatch: pytest.MonkeyPatch) -> ServerTime:
        made = ServerTime(monkeypatch)
        monkeypatch.setattr(self, "wait", made.move)
        return made

    def let_run(self, seconds: float) -> None:
        time.sleep(seconds)

    @pytest.fixture
    def servers(self, redis_url: str) -> dict[str, Any]:
        return {"hosts": [f"{redis_url.rpartition('/')[0]}/{database}" for database in self.databases]}

    @pytest.fixture
    def make_layer(self, servers: dict[str, Any], server_time: ServerTime) -> Iterator[MakeLayer]:
        made: list[RedisChannelLayer] = []
        prefix = f"test-{uuid.uuid4().hex}:"

        def make(**options: Any) -> RedisChannelLayer:
            made.append(self.kind(**servers, **{"prefix": prefix, **self.config, **options}))
            made[-1].index._clock = server_time.monotonic
            return made[-1]

        yield make
        for layer in made:
            layer.flush()
            layer.close()


class TestSentinel(TestOneServer):
    @pytest.fixture
    def servers(self, shared_sentinels: SentinelService) -> dict[str, Any]:
        return shared_sentinels.options


class TestSeveralServers(TestOneServer):
    databases = (0, 1, 2)
    orders_groups = False


@pytest.mark.slow
class TestCluster(TestOneServer):
    orders_groups = False
    kind = RedisClusterChannelLayer

    @pytest.fixture
    def servers(self, shared_cluster: ClusterService) -> dict[str, Any]:
        return {"hosts": shared_cluster.addresses[:1], "tags": 4}


class TestEncrypted(TestOneServer):
    config: ClassVar[dict[str, Any]] = {"symmetric_encryption_keys": ["a secret", "the one before it"]}


@pytest.mark.slow
class TestEncryptedOnSeveralServers(TestEncrypted):
    databases = (0, 1, 2)
    orders_groups = False
