"""Failovers while applications of both kinds serve: Sentinel or a cluster has a replica take the place of a primary."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from channel_layer.redis import RedisClusterChannelLayer
from channel_layer.redis.cluster import slot_of, tags_for
from tests.channel_layer.redis.conftest import ClusterService, SentinelService, running
from tests.conftest import wait_until
from tests.end_to_end.processes import Project

pytestmark = pytest.mark.slow

SECONDS = 30

AFTER_PROMOTION = 10.0
"""Seconds in which traffic is back; on a machine that is not busy it takes one."""


@pytest.fixture
def sentinels(redis_server: str, tmp_path: Path) -> Iterator[SentinelService]:
    with running(SentinelService(redis_server, tmp_path)) as service:
        yield service


@pytest.fixture
def cluster(redis_server: str, tmp_path: Path) -> Iterator[ClusterService]:
    with running(ClusterService(redis_server, tmp_path, replicas=1)) as service:
        yield service


def channels_1(environment: dict[str, str], directory: Path) -> Project:
    environment = environment | {"ENDS": str(directory / "ends")}
    return Project("tests.fixtures.sockets_project", directory, environment, workers=1)


def channels_4(environment: dict[str, str], directory: Path) -> Project:
    package = "tests.fixtures.channels4_project"
    project = Project(package, directory, environment, workers=1)
    project.web.command[1] = f"{package}.asgi:application"
    return project


def ports(service: SentinelService | ClusterService) -> str:
    return " ".join(str(port) for _, port in service.addresses)


both_generations = pytest.mark.parametrize(
    ("make_project", "quiet", "busy"),
    [(channels_1, "/", "/"), (channels_4, "/ws/chat/a/", "/ws/echo/")],
    ids=["channels 1", "channels 4"],
)
MakeProject = Callable[[dict[str, str], Path], Project]


class Visitors:
    """Those of one project: some who ask for pages, one who sends frames all the time, and one at rest.

    Args:
        project: what they visit.
        quiet: path of the socket at rest.
        busy: path that answers each frame with itself.
        stack: where all of it ends.
    """

    def __init__(self, project: Project, quiet: str, busy: str, stack: ExitStack) -> None:
        self.project = project
        self.statuses: list[int] = []
        self.heard: list[str] = []
        self.closed = False
        self.idle = stack.enter_context(self._open(quiet))
        self._busy = stack.enter_context(self._open(busy))
        self._end = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._ask, self._send, self._hear)]
        for thread in self._threads:
            thread.start()
        stack.callback(self.end)

    def end(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(SECONDS)

    def check(self) -> None:
        """No socket was closed, and nothing came twice or out of order; ends the visits."""
        self.end()
        assert not self.closed
        assert set(self.statuses) <= {0, 200, 503}
        own = [text for text in self.heard if text.startswith("frame ")]
        assert len(set(own)) == len(own)
        assert own == sorted(own, key=lambda text: int(text.split()[1]))
        assert "  Traceback" not in self.project.logs()  # what a log has of one is indented

    def goes_on(self) -> None:
        """Wait until pages come, and frames that are sent from now on."""
        heard = len(self.heard)
        wait_until(lambda: len(self.heard) > heard + 50 and self.status() == 200, "traffic", within=60)

    def are_served_again(self) -> None:
        """Wait for a page and an echo, which are to come soon after the promotion, that is now."""
        promoted = time.monotonic()
        wait_until(lambda: self.status() == 200, "a page after the promotion")
        assert self.echo("after") == "after"
        took = time.monotonic() - promoted
        print(f"traffic {took:.2f} s after the promotion")
        assert took < AFTER_PROMOTION

    def echo(self, text: str) -> str:
        self.idle.send(json.dumps({"text": text}))
        while True:
            # In a room one hears the other, too.
            if (heard := json.loads(self.idle.recv(SECONDS))["text"]) == text:
                return str(heard)

    def status(self) -> int:
        """The status of a page; 0 if none comes in a second, as when the request was lost with the primary."""
        try:
            with urllib.request.urlopen(self.project.url, timeout=1) as response:
                return int(response.status)
        except TimeoutError:
            return 0
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def _open(self, path: str) -> ClientConnection:
        url = f"ws://127.0.0.1:{self.project.port}{path}"
        return connect(
            url, origin=Origin("http://localhost"), open_timeout=SECONDS, close_timeout=1, ping_interval=None
        )

    def _ask(self) -> None:
        while not self._end.wait(0.05):
            self.statuses.append(self.status())

    def _send(self) -> None:
        number = 0
        try:
            while not self._end.wait(0.005):
                number += 1
                self._busy.send(json.dumps({"text": f"frame {number}"}))
        except ConnectionClosed:
            self.closed = True

    def _hear(self) -> None:
        try:
            while not self._end.is_set():
                try:
                    self.heard.append(json.loads(self._busy.recv(0.2))["text"])
                except TimeoutError:
                    continue
        except ConnectionClosed:
            self.closed = True


@both_generations
def test_sockets_stay_open_and_nothing_comes_twice(
    sentinels: SentinelService,
    tmp_path: Path,
    make_project: MakeProject,
    quiet: str,
    busy: str,
) -> None:
    with make_project({"SENTINELS": ports(sentinels)}, tmp_path) as project, ExitStack() as stack:
        try:
            visitors = Visitors(project, quiet, busy, stack)
            assert visitors.echo("before") == "before"
            wait_until(lambda: len(visitors.heard) > 50 and 200 in visitors.statuses, "traffic")
            assert visitors.statuses.count(503) == 0
            old = sentinels.primary()
            sentinels.kill(old)
            wait_until(lambda: 503 in visitors.statuses, "a refusal while there is no primary")
            sentinels.wait_for_failover(old)
            visitors.are_served_again()
            visitors.check()
        except BaseException:
            print(project.logs())
            raise


@both_generations
def test_sockets_stay_open_while_nodes_of_a_cluster_are_lost_and_slots_move(
    cluster: ClusterService, tmp_path: Path, make_project: MakeProject, quiet: str, busy: str
) -> None:
    with make_project({"CLUSTER": ports(cluster)}, tmp_path) as project, ExitStack() as stack:
        try:
            visitors = Visitors(project, quiet, busy, stack)
            assert visitors.echo("before") == "before"
            visitors.goes_on()
            layer = RedisClusterChannelLayer(hosts=cluster.addresses)
            shard = layer._storage.host_of("http.request")
            slot = slot_of(tags_for(16)[shard])
            old = cluster.node_of(slot, cluster.ports[0])
            witness = next(port for port in cluster.ports if port != old)
            cluster.kill(old)
            wait_until(lambda: cluster.node_of(slot, witness) != old, "the promotion", within=40)
            visitors.are_served_again()
            visitors.goes_on()
            cluster.start_node(old)
            wait_until(lambda: all(cluster.is_complete(port) for port in cluster.ports), "all nodes in step")
            source = cluster.node_of(slot, witness)
            target = next(
                port for first, _, (_, port, *_), *_ in cluster.ask(witness, "CLUSTER", "SLOTS") if port != source
            )
            move = ["--cluster-from", cluster.identity(source), "--cluster-to", cluster.identity(target)]
            cluster.manage("reshard", f"127.0.0.1:{source}", *move, "--cluster-slots", "16384", "--cluster-yes")
            assert cluster.node_of(slot, witness) == target
            assert visitors.echo("moved") == "moved"
            visitors.goes_on()
            visitors.check()
        except BaseException:
            print(project.logs())
            raise
