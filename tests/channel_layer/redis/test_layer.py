"""The public suite on a real Redis: with one server, with several, and encrypted."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from channel_layer.conformance import ConformanceSuite, MakeLayer
from channel_layer.redis import RedisChannelLayer


class TestOneServer(ConformanceSuite):
    elsewhere: ClassVar[dict[str, Any] | None] = {"prefix": "another-project:"}
    databases: ClassVar[tuple[int, ...]] = (0,)
    config: ClassVar[dict[str, Any]] = {}

    @pytest.fixture
    def make_layer(self, redis_url: str) -> Iterator[MakeLayer]:
        made: list[RedisChannelLayer] = []
        hosts = [f"{redis_url.rpartition('/')[0]}/{database}" for database in self.databases]
        prefix = f"test-{uuid.uuid4().hex}:"

        def make(**options: Any) -> RedisChannelLayer:
            made.append(RedisChannelLayer(hosts=hosts, **{"prefix": prefix, **self.config, **options}))
            return made[-1]

        yield make
        for layer in made:
            layer.flush()
            layer.close()


class TestSeveralServers(TestOneServer):
    databases = (0, 1, 2)


class TestEncrypted(TestOneServer):
    config: ClassVar[dict[str, Any]] = {"symmetric_encryption_keys": ["a secret", "the one before it"]}


@pytest.mark.slow
class TestEncryptedOnSeveralServers(TestEncrypted):
    databases = (0, 1, 2)
