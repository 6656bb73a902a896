"""A Redis of a test's own, and a proxy in front of one that cuts connections."""

from __future__ import annotations

import asyncio
import os
import socket
import socketserver
import subprocess
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis

from channel_layer.redis import RedisChannelLayer, RedisClusterChannelLayer
from channel_layer.redis.cluster import slot_of, tags_for
from tests.conftest import free_port, wait_until
from tests.fixtures.freezing import freeze, thaw

T = TypeVar("T")


def open_descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


class OwnRedis:
    """A server that a test may kill, freeze and start again on the same port, always empty."""

    def __init__(self, program: str, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        listen = ["--port", str(self.port), "--bind", "127.0.0.1"]
        self._command = [program, *listen, "--save", "", "--dir", str(directory)]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._accepts, f"Redis on port {self.port}")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None

    def freeze(self) -> None:
        assert self.process is not None
        freeze(self.process.pid)

    def thaw(self) -> None:
        assert self.process is not None
        thaw(self.process.pid)

    def ask(self, *words: Any) -> Any:
        """A command, on a connection of its own."""
        with redis.Redis.from_url(self.url) as client:
            return client.execute_command(*words)

    def blocked(self) -> list[int]:
        """The connections whose calls wait in it."""
        with redis.Redis.from_url(self.url) as client:
            return [int(found["id"]) for found in client.client_list() if "b" in found["flags"]]

    def _accepts(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(5) == b"+PONG"
        except OSError:
            return False


class CuttingProxy:
    """Passes bytes to a server and back, but cuts the connection in place of every so-many-th answer to a push."""

    STORED = b"$-1\r\n"

    def __init__(self, port: int, every: int) -> None:
        self.cuts = 0
        self._answers = 0
        self._every = every
        self._lock = threading.Lock()
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            # A pipeline may have several pushes.
            while (data := source.recv(65536)) and (data.replace(self.STORED, b"") or not self._is_to_be_cut()):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def _is_to_be_cut(self) -> bool:
        with self._lock:
            self._answers += 1
            cut = self._answers % self._every == 0
            self.cuts += cut
        return cut


class Several:
    """Names that lie on certain servers of several."""

    def __init__(self, layer: RedisChannelLayer) -> None:
        self._layer = layer

    def name(self, shard: int, ending: str = "") -> str:
        host_of = self._layer._storage.host_of
        return next(name for n in range(1000) if host_of(name := f"n{n}{ending}") == shard)


@contextmanager
def own_servers(program: str, directory: Path, count: int) -> Iterator[list[OwnRedis]]:
    """Servers that a test may stop, until the end of the block."""
    servers = [OwnRedis(program, directory) for _ in range(count)]
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.kill()


@pytest.fixture
def own_redis(redis_server: str, tmp_path: Path) -> Iterator[OwnRedis]:
    with own_servers(redis_server, tmp_path, 1) as [server]:
        yield server


@pytest.fixture
def three_redis(redis_server: str, tmp_path: Path) -> Iterator[list[OwnRedis]]:
    """Servers to spread channels over."""
    with own_servers(redis_server, tmp_path, 3) as servers:
        yield servers


def ask(port: int, password: str, *words: Any) -> Any:
    """A command to a server on this machine, on a connection of its own."""
    connection = redis.Connection(host="127.0.0.1", port=port, password=password or None, protocol=2, socket_timeout=5)
    try:
        connection.connect()
        connection.send_command(*words)
        return connection.read_response()
    finally:
        connection.disconnect()


def answers(service: SentinelService | ClusterService, port: int) -> bool:
    """True if a server of a service can be asked."""
    try:
        return bool(service.ask(port, "PING") == b"PONG")
    except redis.RedisError:
        return False


class SentinelService:
    """A primary, its replica and three Sentinels that watch them, impatiently.

    Attributes:
        addresses: of the Sentinels.
        servers: the primary and the replica as they were at the start, by port.
    """

    NAME = "mymaster"
    DOWN_MS = 500

    def __init__(self, program: str, directory: Path, password: str = "", sentinel_password: str = "") -> None:
        self.password, self.sentinel_password = password, sentinel_password
        self._program, self._directory = program, directory
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.servers = [free_port(), free_port()]
        self.addresses = [("127.0.0.1", free_port()) for _ in range(3)]

    @property
    def options(self) -> dict[str, Any]:
        """What a layer needs to know."""
        return {
            "hosts": self.addresses,
            "services": [self.NAME],
            **({"connection_kwargs": {"password": self.password}} if self.password else {}),
            **({"sentinel_kwargs": {"password": self.sentinel_password}} if self.sentinel_password else {}),
        }

    def start(self) -> None:
        primary, replica = self.servers
        self.start_server(primary)
        self.start_server(replica, "--replicaof", "127.0.0.1", str(primary))
        wait_until(lambda: b"state=online" in self.ask(primary, "INFO", "replication"), "a replica in step")
        for _, port in self.addresses:
            self._start_sentinel(port, primary)
        for _, port in self.addresses:
            wait_until(lambda port=port: self._is_complete(port), f"the Sentinel on {port} knowing all others")

    def stop(self) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait(10)

    def start_server(self, port: int, *arguments: str) -> None:
        """A server; without arguments it takes itself for a primary, as one that comes back does at first."""
        auth = ["--requirepass", self.password, "--masterauth", self.password] if self.password else []
        quick = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]
        self._run(port, "--save", "", *quick, *auth, *arguments)

    def kill(self, port: int) -> None:
        process = self._processes.pop(port)
        process.kill()
        process.wait(10)

    def primary(self) -> int:
        """The port of the primary, as the first Sentinel that answers has it."""
        for _, port in self.addresses:
            if port in self._processes:
                return int(self.ask(port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME)[1])
        raise LookupError("no Sentinel is left")

    def wait_for_failover(self, old: int) -> int:
        """The port of the new primary, once it is one."""

        def promoted() -> int:
            port = self.primary()
            return port if port != old and self.ask(port, "ROLE")[0] == b"master" else 0

        return wait_until(promoted, "a new primary", within=40)

    def wait_for_replica(self, port: int) -> None:
        """Wait until a server that is back follows the primary, so that there can be a failover to it."""

        def follows() -> bool:
            return b"slave_repl_offset" in (info := self.ask(port, "INFO", "replication")) and (
                b"master_link_status:up" in info
            )

        wait_until(follows, f"the server on {port} following", within=40)

    def ask(self, port: int, *words: Any) -> Any:
        """A command to a server or a Sentinel, on a connection of its own."""
        return ask(port, self.password if port in self.servers else self.sentinel_password, *words)

    def _run(self, port: int, *arguments: str) -> None:
        log = (self._directory / f"{port}.log").open("ab")
        directory = self._directory / str(port)
        directory.mkdir(exist_ok=True)
        command = [self._program, *arguments[:1]] if arguments[0].startswith("/") else [self._program]
        rest = arguments[1:] if arguments[0].startswith("/") else arguments
        command += ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), *rest]
        with log:
            self._processes[port] = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(lambda: answers(self, port), f"the server on port {port}")

    def _start_sentinel(self, port: int, primary: int) -> None:
        name = self.NAME
        lines = [
            f"sentinel monitor {name} 127.0.0.1 {primary} 2",
            f"sentinel down-after-milliseconds {name} {self.DOWN_MS}",
            f"sentinel failover-timeout {name} 2000",
        ]
        if self.password:
            lines.append(f"sentinel auth-pass {name} {self.password}")
        if self.sentinel_password:
            lines += [f"requirepass {self.sentinel_password}", f"sentinel sentinel-pass {self.sentinel_password}"]
        file = self._directory / f"sentinel-{port}.conf"
        file.write_text("\n".join(lines) + "\n")
        self._run(port, str(file), "--sentinel")

    def _is_complete(self, port: int) -> bool:
        facts = self.ask(port, "SENTINEL", "MASTER", self.NAME)
        known = dict(zip(facts[::2], facts[1::2], strict=True))
        return known[b"num-slaves"] == b"1" and known[b"num-other-sentinels"] == b"2"


class ClusterService:
    """Nodes of a cluster, impatient with each other: three primaries, each with so many replicas.

    Attributes:
        ports: of the nodes.
    """

    def __init__(self, program: str, directory: Path, replicas: int = 0) -> None:
        self._program, self._directory, self._replicas = program, directory, replicas
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.ports = [free_port() for _ in range(3 * (1 + replicas))]
        self._between = {port: free_port() for port in self.ports}

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [("127.0.0.1", port) for port in self.ports]

    def start(self) -> None:
        for port in self.ports:
            self.start_node(port)
        nodes = [f"127.0.0.1:{port}" for port in self.ports]
        self.manage("create", *nodes, "--cluster-replicas", str(self._replicas), "--cluster-yes")
        wait_until(lambda: all(self.is_complete(port) for port in self.ports), "all nodes knowing all slots")

    def start_node(self, port: int) -> None:
        """Start a node, which has its place in the cluster from its file if it was there before."""
        directory = self._directory / str(port)
        directory.mkdir(exist_ok=True)
        options = {"cluster-enabled": "yes", "cluster-node-timeout": "1000", "save": "", "dir": str(directory)}
        options |= {"cluster-port": str(self._between[port]), "repl-diskless-sync-delay": "0"}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        with (self._directory / f"{port}.log").open("ab") as log:
            command = [self._program, "--port", str(port), "--bind", "127.0.0.1", *words]
            self._processes[port] = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(lambda: answers(self, port), f"the node on port {port}")

    def stop(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait(10)

    def kill(self, port: int) -> None:
        process = self._processes.pop(port)
        process.kill()
        process.wait(10)

    def freeze(self, port: int) -> None:
        freeze(self._processes[port].pid)

    def thaw(self, port: int) -> None:
        thaw(self._processes[port].pid)

    def ask(self, port: int, *words: Any) -> Any:
        """A command to a node, on a connection of its own."""
        return ask(port, "", *words)

    def manage(self, *words: str) -> None:
        """Have the command line client do something to the cluster."""
        client = self._program.replace("-server", "-cli")
        subprocess.run([client, "--cluster", *words], check=True, capture_output=True, timeout=480)

    def is_complete(self, port: int) -> bool:
        """True if a node knows all others, and a replica has all data."""
        info = self.ask(port, "CLUSTER", "INFO")
        known = int(info.partition(b"cluster_known_nodes:")[2].split()[0])
        in_step = b"master_link_status:down" not in self.ask(port, "INFO", "replication")
        return b"cluster_state:ok" in info and known == len(self.ports) and in_step

    def node_of(self, slot: int, asked: int) -> int:
        """The port of the node that serves a slot, as the node asked says."""
        for first, last, node, *_ in self.ask(asked, "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return int(node[1])
        raise LookupError(slot)

    def migrate(self, source: int, target: int, keys: Iterable[str | bytes]) -> None:
        """Move keys of a slot that is on its way; those that are not there are passed over."""
        for key in keys:
            self.ask(source, "MIGRATE", "127.0.0.1", target, key, 0, 5000)

    def identity(self, port: int) -> str:
        """What the other nodes know the node as."""
        return str(self.ask(port, "CLUSTER", "MYID").decode())


Service = TypeVar("Service", SentinelService, ClusterService)


@contextmanager
def running(service: Service) -> Iterator[Service]:
    """A service that ends with the block."""
    try:
        service.start()
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="session")
def shared_cluster(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterService]:
    """Three nodes that tests share, each under its own prefix."""
    with running(ClusterService(redis_server, tmp_path_factory.mktemp("cluster"))) as service:
        yield service


@pytest.fixture
def cluster(redis_server: str, tmp_path: Path) -> Iterator[ClusterService]:
    """Three nodes of a test's own, each with a replica."""
    with running(ClusterService(redis_server, tmp_path, replicas=1)) as service:
        yield service


class SaysSo(socketserver.StreamRequestHandler):
    """One connection to a `StandIn`."""

    def handle(self) -> None:
        while head := self.rfile.readline():
            words = []
            for _ in range(int(head[1:])):
                size = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(size + 2)[:-2].decode())
            self.wfile.write(self.server.answer(words))  # type: ignore[attr-defined]


class StandIn(socketserver.ThreadingTCPServer):
    """Speaks as a Sentinel does and names whatever server a test wants it to.

    Attributes:
        primary: port of the server that it names.
        epoch: the number of failovers that it has heard of.
        asked: how often it was asked.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, primary: int) -> None:
        super().__init__(("127.0.0.1", 0), SaysSo)
        self.primary, self.epoch, self.asked = primary, 0, 0
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.socket.getsockname()[1]

    def name(self, primary: int) -> None:
        """Have heard of a failover to another server."""
        self.primary, self.epoch = primary, self.epoch + 1

    def answer(self, words: list[str]) -> bytes:
        if words[0] != "SENTINEL":
            return b"+OK\r\n"
        if words[2] != SentinelService.NAME:
            return b"*-1\r\n" if words[1] != "MASTER" else b"-ERR No such master with that name\r\n"
        if words[1] == "MASTER":
            return texts("name", words[2], "config-epoch", str(self.epoch))
        self.asked += 1
        return texts("127.0.0.1", str(self.primary))


def texts(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word.encode()) for word in words)


@pytest.fixture
def stand_ins() -> Iterator[Callable[[int], StandIn]]:
    """``stand_ins(port)``: a `StandIn` that names the server on that port."""
    made: list[StandIn] = []

    def stand_in(primary: int) -> StandIn:
        made.append(StandIn(primary))
        return made[-1]

    yield stand_in
    for one in made:
        one.shutdown()
        one.server_close()


@pytest.fixture(scope="session")
def shared_sentinels(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelService]:
    """A service that tests share, each under its own prefix."""
    with running(SentinelService(redis_server, tmp_path_factory.mktemp("sentinels"))) as service:
        yield service


@pytest.fixture
def sentinels(redis_server: str, tmp_path: Path) -> Iterator[SentinelService]:
    """A service of a test's own, which may end its servers."""
    with running(SentinelService(redis_server, tmp_path)) as service:
        yield service


MakeRedisLayer = Callable[..., RedisChannelLayer]


@pytest.fixture
def make_redis_layer() -> Iterator[MakeRedisLayer]:
    """Makes layers, by default all with one prefix of the test's own, and closes them afterwards."""
    made: list[RedisChannelLayer] = []
    prefix = f"test-{uuid.uuid4().hex}:"

    def make(*urls: str, **options: Any) -> RedisChannelLayer:
        made.append(RedisChannelLayer(**{"hosts": urls, "prefix": prefix, **options}))
        return made[-1]

    yield make
    for layer in made:
        layer.close()


MakeClusterLayer = Callable[..., RedisClusterChannelLayer]

TAGS = 4
"""Hash tags of the layers that tests make."""


@pytest.fixture
def make_cluster_layer() -> Iterator[MakeClusterLayer]:
    """Makes layers over a cluster, by default all with one prefix, and closes them afterwards."""
    made: list[RedisClusterChannelLayer] = []

    def make(**options: Any) -> RedisClusterChannelLayer:
        made.append(RedisClusterChannelLayer(**{"tags": TAGS, "prefix": "test:", **options}))
        return made[-1]

    yield make
    for layer in made:
        layer.close()


def channels_of(layer: RedisClusterChannelLayer, ending: str = "") -> list[str]:
    """A name on each tag."""
    several = Several(layer)
    return [several.name(shard, ending) for shard in range(TAGS)]


def slot_of_name(layer: RedisClusterChannelLayer, name: str) -> int:
    """The slot of a channel or group."""
    return slot_of(tags_for(TAGS)[layer._storage.host_of(name)])


def in_loop(layer: RedisChannelLayer, call: Coroutine[Any, Any, T]) -> T:
    """Run one call of the async side in an event loop of its own."""

    async def run() -> T:
        try:
            return await call
        finally:
            await layer.aclose()

    return asyncio.run(run())
