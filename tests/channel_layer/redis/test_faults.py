"""What the layer does when Redis is away, slow, empty, old, or cut off in the middle of an answer."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import redis

from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable, LayerUnusable
from channel_layer.redis import RedisChannelLayer, scripts
from tests.conftest import DATABASES, running_redis, wait_until
from tests.fixtures.freezing import freeze, thaw

from .conftest import CuttingProxy, MakeRedisLayer, OwnRedis, in_loop

Eventually = Callable[..., object]


SENT, EVERY = 4_000, 80


class TestAnswersCutOff:
    """They cause no duplicates, and every possible loss is counted."""

    def test_in_a_thread(self, own_redis: OwnRedis, make_redis_layer: MakeRedisLayer) -> None:
        proxy = CuttingProxy(own_redis.port, EVERY)
        sender = make_redis_layer(proxy.url)
        doubtful, unsent = set(), set()
        for number in range(SENT):
            try:
                sender.send("numbers", {"n": number})
            except LayerUnavailable as error:
                (doubtful if error.uncertain else unsent).add(number)
        proxy.close()
        self._check(proxy, sender, make_redis_layer(own_redis.url), doubtful, unsent)

    def test_on_an_event_loop(self, own_redis: OwnRedis, make_redis_layer: MakeRedisLayer) -> None:
        proxy = CuttingProxy(own_redis.port, EVERY)
        sender = make_redis_layer(proxy.url)
        doubtful, unsent = set(), set()

        async def send(numbers: Iterator[int]) -> None:
            for number in numbers:
                try:
                    await sender.asend("numbers", {"n": number})
                except LayerUnavailable as error:
                    (doubtful if error.uncertain else unsent).add(number)

        async def main() -> None:
            numbers = iter(range(SENT))
            await asyncio.gather(*[send(numbers) for _ in range(10)])
            await sender.aclose()

        asyncio.run(main())
        proxy.close()
        self._check(proxy, sender, make_redis_layer(own_redis.url), doubtful, unsent)

    def _check(
        self,
        proxy: CuttingProxy,
        sender: RedisChannelLayer,
        reader: RedisChannelLayer,
        doubtful: set[int],
        unsent: set[int],
    ) -> None:
        got: Counter[int] = Counter()
        while deliveries := reader.receive_batch(["numbers"], limit=500):
            got.update(delivery.message["n"] for delivery in deliveries)
        assert max(got.values()) == 1
        assert unsent == set()
        assert proxy.cuts == len(doubtful) == sender.counters.possible_losses == SENT // EVERY
        # Only the answers were cut: what is in doubt has been stored, and would be twice if it were sent again.
        assert set(got) == set(range(SENT))


def test_a_server_that_comes_back_empty_gets_the_memberships_again(
    own_redis: OwnRedis, make_redis_layer: MakeRedisLayer, eventually: Eventually
) -> None:
    process, worker = make_redis_layer(own_redis.url), make_redis_layer(own_redis.url)
    worker.group_add("room", "process!a")
    worker.group_add("room", "process!b")
    assert process.receive_batch(["process!"]) == []
    own_redis.kill()
    with pytest.raises(LayerUnavailable):
        process.receive_batch(["process!"])
    own_redis.start()

    def delivered() -> bool:
        try:
            process.receive_batch(["process!"])
            worker.send_group("room", {"n": 1})
            return any(set(delivery.members or ()) == {"a", "b"} for delivery in process.receive_batch(["process!"]))
        except LayerUnavailable:
            return False

    assert eventually(delivered, "a message to the restored group")
    assert sorted(worker.group_channels("room")) == ["process!a", "process!b"]


def test_after_flushall_the_memberships_come_back_by_themselves(
    own_redis: OwnRedis, make_redis_layer: MakeRedisLayer, eventually: Eventually
) -> None:
    process, worker = make_redis_layer(own_redis.url), make_redis_layer(own_redis.url)

    async def main() -> None:
        await worker.agroup_add("room", "process!a")
        await process.areceive_batch(["process!"])
        with socket.create_connection(("127.0.0.1", own_redis.port)) as redis:
            redis.sendall(b"FLUSHALL\r\n")
            assert redis.recv(5) == b"+OK\r\n"
        assert worker.group_channels("room") == []
        for _ in range(100):
            await process.areceive_batch(["process!"], timeout=0.1)
            if worker.group_channels("room") == ["process!a"]:
                break
        assert worker.group_channels("room") == ["process!a"]
        await process.aclose()
        await worker.aclose()

    asyncio.run(main())


def test_a_process_that_died_is_dropped_from_its_groups_by_the_next_send(
    own_redis: OwnRedis, make_redis_layer: MakeRedisLayer
) -> None:
    worker = make_redis_layer(own_redis.url)
    worker.group_add("room", "dead!a")
    worker.group_add("room", "alive!b")
    with socket.create_connection(("127.0.0.1", own_redis.port)) as redis:
        redis.sendall(f"DEL {worker.prefix}p:dead!\r\n".encode())
        assert redis.recv(10) == b":1\r\n"
    worker.send_group("room", {"n": 1})
    assert worker.group_channels("room") == ["alive!b"]
    assert worker.channel_statistics("dead!x")["messages_pending"] == 1, "only the news of the membership"


def test_a_frozen_server_ends_a_receive_with_an_error_and_recovers(
    own_redis: OwnRedis, make_redis_layer: MakeRedisLayer
) -> None:
    layer = make_redis_layer(own_redis.url, connection_kwargs={"socket_timeout": 0.5, "socket_connect_timeout": 0.5})
    layer.send("x", {"n": 1})
    own_redis.freeze()
    try:
        with pytest.raises(LayerUnavailable):
            layer.receive_batch(["y"], timeout=0.1)
        with pytest.raises(LayerUnavailable):
            layer.send("x", {"n": 2})
    finally:
        own_redis.thaw()
    layer.send("x", {"n": 3})
    numbers = [delivery.message["n"] for delivery in layer.receive_batch(["x"], limit=10)]
    assert numbers[0] == 1
    assert numbers[-1] == 3
    assert len(numbers) == len(set(numbers))


def test_an_old_server_is_refused_with_the_version_it_needs(make_redis_layer: MakeRedisLayer) -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def pretend() -> None:
        client, _ = server.accept()
        info = b"redis_version:6.0.16\r\n"
        with client:
            while data := client.recv(65536):
                if b"SCRIPT" in data:
                    client.sendall(b":1\r\n$%d\r\n%b\r\n" % (len(info), info) + b"$1\r\nx\r\n" * len(scripts.ALL))
                else:
                    client.sendall(b"+OK\r\n" * data.count(b"SETINFO"))

    thread = threading.Thread(target=pretend)
    with server:
        thread.start()
        layer = make_redis_layer(f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        needed = r"version 6\.0\.16; Redis 7\.0 or later is needed, or Valkey"
        with pytest.raises(LayerConfigurationError, match=needed):
            layer.check()
        thread.join()


@pytest.fixture(scope="module")
def cluster_url(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_redis(redis_server, tmp_path_factory.mktemp("cluster"), "--cluster-enabled", "yes") as url:
        yield url


@pytest.mark.parametrize("side", ["threads", "event loop"])
@pytest.mark.parametrize(
    ("server", "change", "said"),
    [
        ("redis_url", ("redis://", "redis://nobody:secret@"), "Check user and password in 'hosts'."),
        (
            "redis_url",
            ("/0", f"/{DATABASES}"),
            r"has no such database \(DB index is out of range\). Give a lower number",
        ),
        ("cluster_url", ("", ""), "is in cluster mode, which this layer cannot use."),
        # A cluster of Valkey 9 may have several databases; who gives a lower number is told the other thing then.
        ("cluster_url", ("/0", "/3"), "is in cluster mode, which this layer cannot use.|has no such database"),
    ],
)
def test_a_server_that_cannot_be_used_as_configured_is_named_with_what_to_do(
    request: pytest.FixtureRequest,
    make_redis_layer: MakeRedisLayer,
    side: str,
    server: str,
    change: tuple[str, str],
    said: str,
) -> None:
    layer = make_redis_layer(request.getfixturevalue(server).replace(*change))
    with pytest.raises(LayerUnusable) as caught:
        layer.check() if side == "threads" else in_loop(layer, layer.asend("x", {"n": 1}))
    assert re.search(said, str(caught.value))
    assert "secret" not in str(caught.value)
    assert not caught.value.uncertain


def test_a_server_that_became_a_replica_is_away_until_it_is_a_primary_again(
    own_redis: OwnRedis, make_redis_layer: MakeRedisLayer
) -> None:
    layer = make_redis_layer(own_redis.url)
    layer.send("x", {"n": 1})
    connected = own_redis.ask("INFO", "stats")["total_connections_received"]
    own_redis.ask("REPLICAOF", "127.0.0.1", "1")
    for number in range(2):
        for send in (
            lambda message: layer.send("x", message),
            lambda message: in_loop(layer, layer.asend("x", message)),
        ):
            with pytest.raises(LayerUnavailable, match="read only replica") as caught:
                send({"n": number})
            assert not caught.value.uncertain
    # Its name may lead to another server by now.
    asked = 2
    assert own_redis.ask("INFO", "stats")["total_connections_received"] - connected - asked >= 3
    own_redis.ask("REPLICAOF", "NO", "ONE")
    layer.send("x", {"n": 2})
    assert [delivery.message["n"] for delivery in layer.receive_batch(["x"], limit=5)] == [1, 2]


class TestSeveralServers:
    @pytest.fixture
    def layer(self, own_redis: OwnRedis) -> RedisChannelLayer:
        hosts = [f"redis://127.0.0.1:{own_redis.port}/{database}" for database in range(3)]
        return RedisChannelLayer(hosts=hosts, prefix="several:")

    CHANNELS = tuple(f"channel-{number}" for number in range(12))

    def test_one_receive_serves_channels_on_all_of_them(self, layer: RedisChannelLayer) -> None:
        for name in self.CHANNELS:
            layer.send(name, {"name": name})
        got = [layer.receive(self.CHANNELS)[1] for _ in self.CHANNELS]
        assert sorted(message["name"] for message in got if message) == sorted(self.CHANNELS)
        assert layer.receive(self.CHANNELS) == (None, None)

    def test_a_waiting_receive_wakes_for_each_of_them(self, layer: RedisChannelLayer) -> None:
        for name in self.CHANNELS:
            sender = threading.Thread(target=layer.send, args=(name, {"name": name}))
            sender.start()
            assert layer.receive(self.CHANNELS, block=True) == (name, {"name": name})
            sender.join()

    def test_an_interrupted_receive_loses_nothing(self, layer: RedisChannelLayer) -> None:
        taken: list[str] = []
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                taken.extend(delivery.message["name"] for delivery in layer.receive_batch(self.CHANNELS, timeout=30))

        thread = threading.Thread(target=read)
        thread.start()
        for _ in range(10):
            for name in self.CHANNELS:
                layer.send(name, {"name": name})
        stop.set()
        while thread.is_alive():
            layer.interrupt()
            thread.join(0.01)
        layer.close()
        while (message := layer.receive(self.CHANNELS)[1]) is not None:
            taken.append(message["name"])
        assert Counter(taken) == dict.fromkeys(self.CHANNELS, 10)

    def test_a_receive_on_other_channels_misses_nothing(self, layer: RedisChannelLayer) -> None:
        layer.send(self.CHANNELS[0], {"n": 0})
        assert layer.receive(self.CHANNELS, block=True)[1] == {"n": 0}
        for name in self.CHANNELS:
            layer.send(name, {"name": name})
            assert layer.receive([name], block=True) == (name, {"name": name})
            layer.receive(self.CHANNELS)

    def test_one_that_is_away_does_not_hold_up_the_others(self, redis_url: str, own_redis: OwnRedis) -> None:
        layer = RedisChannelLayer(hosts=[redis_url, own_redis.url], prefix="half:")
        own_redis.kill()
        sent = []
        for name in self.CHANNELS:
            try:
                layer.send(name, {"name": name})
                sent.append(name)
            except LayerUnavailable:
                continue
        assert 0 < len(sent) < len(self.CHANNELS)
        got = [layer.receive(self.CHANNELS, block=True)[0] for _ in sent]
        assert sorted(str(name) for name in got) == sorted(sent)
        layer.close()


RECEIVER = """
import asyncio, sys
from channel_layer.redis import RedisChannelLayer

layer = RedisChannelLayer(hosts=[sys.argv[1]], connection_kwargs={"socket_timeout": 2})

async def receive():
    deliveries = []
    while not deliveries:
        deliveries = await layer.areceive_batch(["held-up"], timeout=30)
    return deliveries

if sys.argv[2] == "threads":
    deliveries = []
    while not deliveries:
        deliveries = layer.receive_batch(["held-up"], timeout=30)
elif sys.argv[2] == "asyncio":
    deliveries = asyncio.run(receive())
else:
    import uvloop
    deliveries = uvloop.run(receive())
print(deliveries[0].message["text"])
"""


class TestHeldUp:
    """A process that is held up longer than an answer may take finds the message that came meanwhile."""

    @pytest.mark.parametrize("kind", ["threads", "asyncio", "uvloop"])
    def test_between_question_and_answer(
        self, own_redis: OwnRedis, make_redis_layer: MakeRedisLayer, kind: str
    ) -> None:
        layer = make_redis_layer(own_redis.url, prefix="asgi:")
        with (
            redis.Redis.from_url(own_redis.url) as client,
            subprocess.Popen([sys.executable, "-c", RECEIVER, own_redis.url, kind], stdout=subprocess.PIPE) as process,
        ):

            def waits() -> bool:
                return any("b" in info["flags"] for info in client.client_list())

            def is_handed_over_while_held_up() -> bool:
                freeze(process.pid)
                is_waiting = waits()
                if is_waiting:
                    layer.send("held-up", {"text": "there"})
                    if not any(client.type(key) == b"list" for key in client.scan_iter()):
                        return True
                    client.flushdb()  # the server had given up waiting just before
                thaw(process.pid)
                return False

            try:
                wait_until(waits)
                wait_until(is_handed_over_while_held_up)
                time.sleep(2.1)  # longer than the answer may take
                thaw(process.pid)
                output, _ = process.communicate(timeout=20)
                assert output.decode().strip() == "there"
            finally:
                process.kill()
