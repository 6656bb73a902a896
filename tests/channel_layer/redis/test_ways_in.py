"""Every way to a server that redis-py knows, taken by both drivers and both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import uvloop

from channel_layer.exceptions import LayerUnavailable
from channel_layer.redis import RedisChannelLayer
from channel_layer.redis.async_driver import AsyncDriver
from channel_layer.redis.hosts import Host
from channel_layer.redis.scripts import plain
from channel_layer.redis.sync_driver import SyncDriver
from tests.conftest import free_port, running_redis

from .certificates import make_certificate

BIG = {"bytes": bytes(range(256)) * 4_000}

Run = Callable[[Any], Any]


class Provider(redis.CredentialProvider):
    def get_credentials(self) -> tuple[str, str]:
        return "worker", "secret"


class Ways:
    def __init__(self, directory: Path) -> None:
        self.certificate, self.key = make_certificate(directory)
        self.unix = directory / "redis.sock"
        self.tls_port = free_port()
        self.port = 0

    def arguments(self) -> list[str]:
        tls = ["--tls-port", str(self.tls_port), "--tls-auth-clients", "no"]
        files = ["--tls-cert-file", str(self.certificate), "--tls-key-file", str(self.key)]
        return [*tls, *files, "--unixsocket", str(self.unix), "--user", "worker", "on", ">secret", "~*", "&*", "+@all"]

    def spec(self, way: str) -> dict[str, Any]:
        specs: dict[str, dict[str, Any]] = {
            "password": {"address": f"redis://worker:secret@127.0.0.1:{self.port}/3", "client_name": "mine"},
            "provider": {
                "address": ("127.0.0.1", self.port),
                "credential_provider": Provider(),
                "db": 3,
                "client_name": "mine",
            },
            "unix": {"address": f"unix://worker:secret@{self.unix}?db=3", "client_name": "mine"},
            "tls": {
                "address": f"rediss://worker:secret@127.0.0.1:{self.tls_port}/3",
                "ssl_ca_certs": str(self.certificate),
                "client_name": "mine",
            },
        }
        return specs[way]


@pytest.fixture(scope="module")
def ways(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    directory = tmp_path_factory.mktemp("ways")
    ways = Ways(directory)
    with running_redis(redis_server, directory, *ways.arguments()) as url:
        ways.port = int(url.rpartition(":")[2].partition("/")[0])
        yield ways


@pytest.mark.parametrize("way", ["password", "provider", "unix", "tls"])
class TestEveryWay:
    def test_threads_reach_the_server(self, ways: Ways, way: str) -> None:
        layer = RedisChannelLayer(hosts=[ways.spec(way)], prefix="ways-sync:")
        layer.send("x", BIG)
        assert layer.receive(["x"], block=True) == ("x", BIG)
        exchange = layer.begin_exchange([layer.prepare("x", BIG)], ["x"], timeout=10)
        assert [delivery.message for delivery in exchange.finish(lambda refused, error: None)] == [BIG]
        assert layer.receive(["x"]) == (None, None)
        layer.close()
        driver = SyncDriver([Host(ways.spec(way))])
        self._check_client(driver.run(0, [plain("CLIENT", "INFO")])[0])
        connection = driver.start(0, [plain("BLPOP", "nothing", 0.05)])
        assert not connection.has_answer()
        assert driver.finish(connection) == [None]
        driver.close()

    @pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
    def test_coroutines_reach_the_server(self, ways: Ways, way: str, run: Run) -> None:
        async def main() -> None:
            layer = RedisChannelLayer(hosts=[ways.spec(way)], prefix="ways-async:")
            await layer.asend("x", BIG)
            assert await layer.areceive(["x"]) == ("x", BIG)
            await layer.aclose()
            driver = AsyncDriver([Host(ways.spec(way))])
            self._check_client((await driver.run(0, [plain("CLIENT", "INFO")]))[0])
            with pytest.raises(LayerUnavailable):
                await driver.run(0, [plain("CLIENT", "KILL", "USER", "worker", "SKIPME", "no"), plain("PING")])
            assert await driver.run(0, [plain("ECHO", "again")]) == [b"again"]
            await driver.close()

        run(main())

    def _check_client(self, info: bytes) -> None:
        assert {b"name=mine", b"db=3", b"user=worker"} <= set(info.split())


def test_a_certificate_that_nobody_vouches_for_is_refused(ways: Ways) -> None:
    driver = AsyncDriver([Host(f"rediss://127.0.0.1:{ways.tls_port}/0")])
    with pytest.raises(LayerUnavailable, match=r"(?i)certificate"):
        asyncio.run(driver.run(0, [plain("PING")]))
