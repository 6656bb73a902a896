"""Every way to a server that redis-py knows, taken by both drivers and both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import uvloop

from channel_layer.exceptions import LayerUnavailable, LayerUnusable
from channel_layer.redis import RedisChannelLayer
from channel_layer.redis.async_driver import AsyncDriver
from channel_layer.redis.hosts import Host
from channel_layer.redis.scripts import plain
from channel_layer.redis.sync_driver import SyncDriver
from tests.conftest import free_port, running_redis, wait_until

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
        exchange = layer.begin_exchange([layer.prepare("x", BIG)], ["x"], timeout=30)
        assert [delivery.message for delivery in exchange.finish(lambda refused, error: None)] == [BIG]
        assert layer.receive(["x"]) == (None, None)
        layer.close()
        driver = SyncDriver([Host(ways.spec(way))])
        self._check_client(driver.run(0, [plain("CLIENT", "INFO")])[0])
        (mine,) = driver.run(0, [plain("CLIENT", "ID")])
        other = SyncDriver([Host(ways.spec(way))])
        other.run(0, [plain("CLIENT", "KILL", "ID", mine)])
        other.close()
        wait_until(driver._mine(0).has_answer, "the end of the idle connection")
        assert driver.run(0, [plain("ECHO", "again")]) == [b"again"]
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


@pytest.fixture(scope="module")
def mutual(redis_server: str, ways: Ways, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server that wants a certificate of its clients."""
    port = free_port()
    files = ["--tls-cert-file", str(ways.certificate), "--tls-key-file", str(ways.key)]
    arguments = ["--tls-port", str(port), *files, "--tls-ca-cert-file", str(ways.certificate)]
    with running_redis(redis_server, tmp_path_factory.mktemp("mutual"), *arguments):
        yield port


def check(layer: RedisChannelLayer) -> None:
    layer.check()


def send_on_asyncio(layer: RedisChannelLayer) -> None:
    asyncio.run(layer.asend("x", {}))


def send_on_uvloop(layer: RedisChannelLayer) -> None:
    uvloop.run(layer.asend("x", {}))


@pytest.mark.parametrize("use", [check, send_on_asyncio, send_on_uvloop])
@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("authority", "has a certificate that nobody we trust has signed"),
        ("name", "has a certificate for another name"),
        ("file", "a file of 'ssl_ca_certs', 'ssl_certfile' or 'ssl_keyfile' is unreadable"),
        ("client", "refuses our certificate"),
        ("key", "cannot be reached by TLS"),
    ],
)
def test_what_is_wrong_with_tls_is_named_with_what_to_set(
    ways: Ways, mutual: int, tmp_path: Path, use: Callable[[RedisChannelLayer], None], trouble: str, said: str
) -> None:
    trust = {"ssl_ca_certs": str(ways.certificate)}
    other_key = make_certificate(tmp_path)[1]
    spec: dict[str, Any] = {
        "authority": {"address": f"rediss://127.0.0.1:{ways.tls_port}/0"},
        "name": {"address": f"rediss://localhost:{ways.tls_port}/0", **trust},
        "file": {"address": f"rediss://127.0.0.1:{ways.tls_port}/0", "ssl_ca_certs": str(tmp_path / "nowhere")},
        "client": {"address": f"rediss://127.0.0.1:{mutual}/0", **trust},
        "key": {
            "address": f"rediss://127.0.0.1:{mutual}/0",
            **trust,
            "ssl_certfile": str(ways.certificate),
            "ssl_keyfile": str(other_key),
        },
    }[trouble]
    layer = RedisChannelLayer(hosts=[spec])
    with pytest.raises(LayerUnusable) as caught:
        use(layer)
    assert said in str(caught.value)
    assert not caught.value.uncertain


@pytest.mark.parametrize("how", ["trusting any", "by another name", "with a certificate of ours"])
def test_the_options_it_names_help(ways: Ways, mutual: int, how: str) -> None:
    trust = {"ssl_ca_certs": str(ways.certificate)}
    client = {"ssl_certfile": str(ways.certificate), "ssl_keyfile": str(ways.key)}
    spec: dict[str, Any] = {
        "trusting any": {"address": f"rediss://127.0.0.1:{ways.tls_port}/0", "ssl_cert_reqs": "none"},
        "by another name": {"address": f"rediss://localhost:{ways.tls_port}/0", **trust, "ssl_check_hostname": False},
        "with a certificate of ours": {"address": f"rediss://127.0.0.1:{mutual}/0", **trust, **client},
    }[how]
    layer = RedisChannelLayer(hosts=[spec], prefix="tls:")
    layer.check()
    layer.close()


def test_a_wrong_password_is_named_by_every_way(ways: Ways) -> None:
    for way in ("password", "unix", "tls"):
        spec = ways.spec(way)
        spec["address"] = spec["address"].replace("secret", "wrong")
        layer = RedisChannelLayer(hosts=[spec])
        for attempt in (layer.check, lambda layer=layer: asyncio.run(layer.asend("x", {}))):
            with pytest.raises(LayerUnusable, match="Check user and password in 'hosts'"):
                attempt()
