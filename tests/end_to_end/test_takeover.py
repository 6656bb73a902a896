"""A ``daphne`` that takes over the open sockets of another one, as real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from channel_layer.delivery import Delivery
from channel_layer.redis import RedisChannelLayer
from interface_server.application import Application
from interface_server.endpoints import Endpoint
from interface_server.options import Options
from interface_server.server import build_server
from interface_server.takeover import passage
from interface_server.takeover.estate import terms
from interface_server.takeover.successor import Succession, ask
from interface_server.wire.websocket_frames import message_frame
from tests.conftest import free_port, wait_until
from tests.end_to_end.channels4_site import SECONDS, serving
from tests.end_to_end.layers import environment_of, layer_of
from tests.end_to_end.processes import ROOT, Service, daphne
from tests.end_to_end.systemd import Systemd
from tests.end_to_end.test_channels4_project import hear, say
from tests.interface_server.helpers import Workers, accept, respond

GROUP = "everybody"
UPGRADE = (
    b"GET /alone HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
AHEAD = 20
"""Frames that are sent before the answer to the first has come, however slow the machine is."""


class Servers:
    """One place to serve at, and the servers that follow each other there.

    Attributes:
        now: the one that serves.
        workers: a thread in place of the workers: it echoes, and puts sockets into a group.
    """

    def __init__(self, directory: Path, environment: dict[str, str], layer: Any, *options: str) -> None:
        self.port = free_port()
        self.path = directory / "takeover" / "socket"
        self.path.parent.mkdir(mode=0o700)
        self.layer = layer
        self._directory = directory
        self._environment = {"DJANGO_SETTINGS_MODULE": "tests.fixtures.sockets_project.settings", **environment}
        self._options = options
        self._place = ["--takeover", str(self.path)]
        self.started: list[Service] = []
        self.ends: list[Delivery] = []
        self.workers = Workers(layer, {"websocket.connect": self._connect, "http.request": respond(b"hello")})

    def _connect(self, workers: Workers, delivery: Delivery) -> None:
        if delivery.message["path"] == "/":
            self.layer.group_add(GROUP, delivery.message["reply_channel"])
        accept(workers, delivery)

    @property
    def now(self) -> Service:
        return self.started[-1]

    def start(self, *options: str, **environment: str) -> Service:
        """Start another one."""
        place = ["-p", str(self.port), *self._place, *self._options, *options]
        command = [daphne(), "tests.fixtures.sockets_project.asgi:channel_layer", *place]
        name = f"web-{len(self.started) + 1}"
        web = Service(name, command, self._environment | environment, self._directory)
        self._begin(web)
        self.started.append(web)
        return web

    def _begin(self, web: Service) -> None:
        web.start()

    def succeed(self) -> None:
        """Start another one, which takes over from the one that serves; that ends."""
        old = self.now
        new = self.start()
        new.wait_to_say("Took over", "Listening")
        old.wait_for_end()

    def close(self) -> None:
        self.workers.stop()
        for each in self.started:
            each.kill()
        self.layer.close()

    def logs(self) -> str:
        return "\n".join(each.text() for each in self.started)


@contextmanager
def at(
    directory: Path, environment: dict[str, str], layer: Any, *options: str, kind: type[Servers] = Servers
) -> Iterator[Servers]:
    servers = kind(directory, environment, layer, *options)
    try:
        servers.start().wait_to_say("Listening")
        yield servers
    except BaseException:
        print(servers.logs())
        raise
    finally:
        servers.close()


@pytest.fixture
def servers(new_database: Callable[[], str], tmp_path: Path) -> Iterator[Servers]:
    url = new_database()
    layer = RedisChannelLayer(hosts=[url])
    with at(tmp_path, {"REDIS_URL": url}, layer, "--permessage-deflate") as servers:
        yield servers


class Client:
    """A WebSocket that sends numbers, gets each back, and gets what goes to the group, numbered, too."""

    def __init__(self, port: int, compression: str | None) -> None:
        self._address = f"ws://127.0.0.1:{port}/"
        self._compression: Any = compression
        self.sent = 0
        self.echoes: list[int] = []
        self.shared: list[int] = []
        self.closed = ""
        self.opened = asyncio.Event()
        self.quiet = asyncio.Event()

    async def run(self) -> None:
        """Send until told to be quiet, and then wait for the rest."""
        async with connect(self._address, compression=self._compression, ping_interval=None) as socket:
            self.opened.set()
            reading = asyncio.create_task(self._read(socket))
            while not self.quiet.is_set():
                if self.sent - len(self.echoes) < AHEAD:
                    await socket.send(f"{self.sent}")
                    self.sent += 1
                await asyncio.sleep(0.01)
            async with asyncio.timeout(SECONDS):
                while len(self.echoes) < self.sent and not reading.done():  # noqa: ASYNC110 - of a thread's making
                    await asyncio.sleep(0.01)
            reading.cancel()

    async def _read(self, socket: Any) -> None:
        try:
            async for text in socket:
                (self.shared if text[0] == "g" else self.echoes).append(int(text.removeprefix("g")))
        except ConnectionClosed as error:
            self.closed = str(error)


class Crowd:
    """Clients in a thread, and somebody who sends to their group."""

    def __init__(self, servers: Servers, count: int) -> None:
        self._servers = servers
        self.clients = [Client(servers.port, "deflate" if number % 2 else None) for number in range(count)]
        self.shared = 0
        self._loop: asyncio.AbstractEventLoop
        self._is_open = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._failure: BaseException | None = None

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                for client in self.clients:
                    group.create_task(client.run())
                for client in self.clients:
                    await client.opened.wait()
                self._is_open.set()
                await self._send_to_group()
        except BaseException as error:
            self._failure = error
            self._is_open.set()

    async def _send_to_group(self) -> None:
        while not self.clients[0].quiet.is_set():
            behind = min(client.shared[-1] if client.shared else -1 for client in self.clients)
            if self.shared - behind <= AHEAD:
                await asyncio.to_thread(self._servers.layer.send_group, GROUP, {"text": f"g{self.shared}"})
                self.shared += 1
            await asyncio.sleep(0.01)

    def __enter__(self) -> Crowd:
        self._thread.start()
        assert self._is_open.wait(SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Send nothing more, and wait until all has come."""
        with suppress(RuntimeError):  # it has ended by itself
            for client in self.clients:
                self._loop.call_soon_threadsafe(client.quiet.set)
        self._thread.join(2 * SECONDS)
        if self._failure is not None:
            raise self._failure

    def goes_on(self) -> None:
        """Wait until every client has had echoes and shared messages of what is sent from now on."""
        sent, shared = [client.sent for client in self.clients], self.shared

        def is_there() -> bool:
            return self._failure is not None or all(
                client.echoes[-1:] >= [before] and client.shared[-1:] >= [shared]
                for client, before in zip(self.clients, sent, strict=True)
            )

        wait_until(is_there, "the clients to go on", within=SECONDS)

    def check(self) -> None:
        """Nothing was lost, doubled or out of order, and no socket closed."""
        for client in self.clients:
            assert client.closed == ""
            assert client.echoes == list(range(client.sent))
            assert client.shared == list(range(client.shared[0], client.shared[0] + len(client.shared)))


def take_over_three_times(servers: Servers, count: int) -> Crowd:
    """Three takeovers in a row while so many clients send and listen: none notices."""
    with Crowd(servers, count) as crowd:
        for _ in range(3):
            crowd.goes_on()
            servers.succeed()
        crowd.goes_on()
        assert servers.workers.on("websocket.disconnect") == []
    crowd.check()
    return crowd


def test_under_load_three_takeovers_in_a_row_lose_double_and_reorder_nothing(servers: Servers) -> None:
    crowd = take_over_three_times(servers, 8)
    # The clients have left meanwhile, and each consumer hears of it once, by the name that the socket had at first.
    ends = servers.workers.wait_for("websocket.disconnect", len(crowd.clients))
    names = {delivery.message["reply_channel"] for delivery in servers.workers.on("websocket.connect")}
    assert {delivery.message["reply_channel"] for delivery in ends} == names
    assert len(ends) == len(crowd.clients)


@pytest.mark.slow
def test_it_is_the_same_without_uvloop(new_database: Callable[[], str], tmp_path: Path) -> None:
    (tmp_path / "uvloop.py").write_text("raise ImportError('as where there is none')\n")
    url = new_database()
    layer = RedisChannelLayer(hosts=[url])
    environment = {"REDIS_URL": url, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    with at(tmp_path, environment, layer, "--permessage-deflate") as servers, Crowd(servers, 4) as crowd:
        crowd.goes_on()
        servers.succeed()
        crowd.goes_on()
    crowd.check()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sqlite", "postgres", "rabbitmq"])
def test_it_is_the_same_over_other_brokers(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    environment = environment_of(name, request, tmp_path)
    layer = layer_of(environment)
    with at(tmp_path, environment, layer) as servers:
        with Crowd(servers, 4) as crowd:
            crowd.goes_on()
            servers.succeed()
            crowd.goes_on()
        crowd.check()


@pytest.mark.slow
def test_it_is_the_same_over_several_servers(new_database: Callable[[], str], tmp_path: Path) -> None:
    urls = [new_database() for _ in range(4)]
    layer = RedisChannelLayer(hosts=urls)
    with at(tmp_path, {"REDIS_URL": " ".join(urls)}, layer) as servers:
        take_over_three_times(servers, 4)


def request(servers: Servers) -> socket.socket:
    """Ask for a page, and return the connection that waits for it."""
    client = socket.create_connection(("127.0.0.1", servers.port), SECONDS)
    client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    return client


def answer(client: socket.socket) -> bytes:
    data = b""
    while piece := client.recv(65_536):
        data += piece
    return data


def test_requests_under_way_are_answered_by_the_old_one(servers: Servers) -> None:
    servers.workers._consumers["http.request"] = lambda workers, delivery: None
    old = servers.now
    with request(servers) as client:
        asked = servers.workers.wait_for("http.request")[-1]
        servers.start().wait_to_say("Took over")
        servers.workers.reply(asked, {"status": 200, "headers": [], "content": b"from the old one"})
        assert answer(client).endswith(b"from the old one")
        old.wait_for_end()
    servers.workers._consumers["http.request"] = respond(b"from the new one")
    with request(servers) as client:
        assert answer(client).endswith(b"from the new one")


@pytest.mark.slow
def test_requests_under_way_are_answered_though_the_new_one_is_killed(servers: Servers) -> None:
    servers.workers._consumers["http.request"] = lambda workers, delivery: None
    old = servers.now
    with request(servers) as client:
        asked = servers.workers.wait_for("http.request")[-1]
        new = servers.start()
        new.wait_to_say("Took over")
        new.kill()
        old.wait_to_say("the new server has ended")
        servers.workers.reply(asked, {"status": 200, "headers": [], "content": b"all the same"})
        assert answer(client).endswith(b"all the same")
        old.wait_for_end()


def theirs(servers: Servers) -> dict[str, Any]:
    """The terms of a server like those here."""
    return terms(servers.layer, Options())


@pytest.mark.slow
def test_a_new_one_that_is_killed_at_any_moment_before_it_has_confirmed_changes_nothing(servers: Servers) -> None:
    def before_it_has_anything(connection: socket.socket) -> None:
        passage.send(connection, theirs(servers))

    def in_the_midst(connection: socket.socket) -> None:
        passage.send(connection, theirs(servers))
        passage.receive(connection)
        for descriptor in socket.recv_fds(connection, 1, 253)[1]:
            os.close(descriptor)

    with Crowd(servers, 6) as crowd:
        for moment in (before_it_has_anything, in_the_midst):
            crowd.goes_on()
            connection = passage.connect(str(servers.path))
            assert connection is not None
            with connection:
                moment(connection)
            crowd.goes_on()
        found = ask(str(servers.path), servers.layer, Options())
        assert found is not None
        found.close()
        crowd.goes_on()
        assert servers.now.text().count("the other server has not taken over; going on") == 3
        servers.succeed()
        crowd.goes_on()
    crowd.check()


@pytest.mark.slow
def test_what_an_old_one_has_handed_over_lives_though_it_is_killed_before_it_says_so(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = RedisChannelLayer(hosts=[servers.layer.describe().partition("?")[0]])

    def ask_and_kill(path: str, *arguments: Any) -> Succession | None:
        found = ask(path, *arguments)
        servers.now.kill()
        return found

    monkeypatch.setattr("interface_server.server.ask", ask_and_kill)
    options = Options(takeover=str(servers.path), permessage_deflate=True, graceful_timeout=3)
    server = build_server(Application(layer, options), endpoints=[Endpoint(port=servers.port)])
    thread = threading.Thread(target=server.run)
    with Crowd(servers, 6) as crowd:
        crowd.goes_on()
        thread.start()
        wait_until(lambda: server.started, "the new one", within=SECONDS)
        crowd.goes_on()
    crowd.check()
    assert len(servers.workers.wait_for("websocket.disconnect", 6)) == 6
    server.should_exit = True
    thread.join(SECONDS)
    layer.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [({"version": 99}, "do not speak the same version"), ({"prefix": "other:"}, "differ in their prefix")],
)
def test_a_server_that_is_too_different_is_refused_with_a_sentence(
    servers: Servers, change: dict[str, Any], says: str
) -> None:
    with Crowd(servers, 2) as crowd:
        crowd.goes_on()
        connection = passage.connect(str(servers.path))
        assert connection is not None
        with connection:
            passage.send(connection, theirs(servers) | change)
            assert says in passage.receive(connection)["refused"]
        crowd.goes_on()
    crowd.check()


@pytest.mark.slow
def test_a_new_one_with_other_settings_says_so_and_ends(servers: Servers) -> None:
    with Crowd(servers, 2) as crowd:
        new = servers.start("--unordered")
        assert new.running.wait(SECONDS) == 1
        assert "the servers differ in their --unordered" in new.text()
        servers.started.pop()
        crowd.goes_on()
    crowd.check()


def open_raw(servers: Servers) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.settimeout(SECONDS)
    client.connect(("127.0.0.1", servers.port))
    client.sendall(UPGRADE)
    assert b"101" in client.recv(12)
    while not client.recv(1_000).endswith(b"\r\n\r\n"):
        pass
    return client


@pytest.mark.slow
def test_a_slow_reader_gets_what_waits_for_it_from_the_new_one(servers: Servers) -> None:
    frames = [b"%06d" % number * 2_000 for number in range(60)]
    with open_raw(servers) as client:
        opened = servers.workers.wait_for("websocket.connect")[-1]
        for frame in frames:
            servers.workers.send(opened, {"bytes": frame})
        old = servers.now
        name = opened.message["reply_channel"]
        wait_until(lambda: not servers.layer.channel_statistics(name)["messages_pending"], "all to be taken")
        servers.start("--outbox-timeout", "60").wait_to_say("Took over 1 WebSockets")
        old.wait_for_end()
        servers.workers.send(opened, {"bytes": b"at last"})
        expected = b"".join(message_frame(False, frame) for frame in [*frames, b"at last"])
        got = b""
        while len(got) < len(expected):
            got += client.recv(65_536)
        assert got == expected


@pytest.mark.slow
def test_a_client_in_the_midst_of_a_message_is_told_to_come_again(servers: Servers) -> None:
    with open_raw(servers) as client, Crowd(servers, 2) as crowd:
        frame = Frame(Opcode.TEXT, b"half of this").serialize(mask=True)
        client.sendall(frame[:9])
        crowd.goes_on()
        servers.succeed()
        assert client.recv(100)[2:4] == (1012).to_bytes(2, "big")
        crowd.goes_on()
        [end] = servers.workers.wait_for("websocket.disconnect")
        assert end.message["code"] == 1012
    crowd.check()


@pytest.mark.slow
def test_instances_of_channels_4_stay_with_their_sockets(new_database: Callable[[], str], tmp_path: Path) -> None:
    path = tmp_path / "takeover"
    path.mkdir(mode=0o700)
    with serving("tests.fixtures.channels4_project", new_database(), tmp_path) as site, ExitStack() as stack:
        project = site.project
        project.web.stop()
        project.web.command += ["--takeover", str(path / "socket")]
        project.web.start()
        project.wait_for_page("/announce/none/")
        one, other = (stack.enter_context(site.open("/ws/chat/a/")) for _ in range(2))
        pid = site.pid
        for number in range(1, 4):
            expected = {"text": "hello", "said": number, "mine": True, "user": "", "pid": pid}
            assert say(one, "hello") == expected
            assert hear(other) == expected | {"mine": False}
            old = project.web
            new = Service(f"web-{number}", old.command, old.environment, tmp_path)
            project.web = stack.enter_context(new)
            new.wait_to_say("Took over 2 WebSockets")
            old.wait_for_end()
        site.deploy()
        assert say(one, "hello")["said"] == 4
        assert hear(other)["pid"] == site.pid
        one.close()
        assert hear(other) == {"left": 4, "code": 1000}


# -- with systemd ------------------------------------------------------------------------------------


class Restarted(Servers):
    """A service of systemd, whose sockets wait in its store while it is restarted."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.systemd = Systemd(self._directory)
        self._place = ["--takeover", "systemd"]

    def _begin(self, web: Service) -> None:
        self.systemd.start(web)

    def restart(self) -> None:
        """Do as ``systemctl restart`` does."""
        self.now.stop()
        self.start().wait_to_say("Took over", "Listening")

    def close(self) -> None:
        super().close()
        self.systemd.close()


@pytest.fixture
def service(new_database: Callable[[], str], tmp_path: Path) -> Iterator[Restarted]:
    url = new_database()
    layer = RedisChannelLayer(hosts=[url])
    with at(tmp_path, {"REDIS_URL": url}, layer, "--permessage-deflate", kind=Restarted) as servers:
        assert isinstance(servers, Restarted)
        yield servers


@pytest.mark.slow
def test_a_restart_by_systemd_closes_loses_doubles_and_reorders_nothing(service: Restarted) -> None:
    with Crowd(service, 6) as crowd:
        for _ in range(2):
            crowd.goes_on()
            service.restart()
        crowd.goes_on()
        wait_until(lambda: service.systemd.said == ["READY=1"] * 3, "it to be ready")
        assert service.systemd.kept == []
    crowd.check()
    assert len(service.workers.wait_for("websocket.disconnect", 6)) == 6


@pytest.mark.slow
def test_a_restart_by_systemd_waits_for_requests_while_sockets_go_on(service: Restarted) -> None:
    service.workers._consumers["http.request"] = lambda workers, delivery: None
    with Crowd(service, 2) as crowd, request(service) as client:
        asked = service.workers.wait_for("http.request")[-1]
        old = service.now
        old.running.terminate()
        old.wait_to_say("accepting no more connections")
        crowd.goes_on()
        service.workers.reply(asked, {"status": 200, "headers": [], "content": b"in time"})
        assert answer(client).endswith(b"in time")
        old.wait_for_end()
        service.start().wait_to_say("Took over 2 WebSockets", "Listening")
        crowd.goes_on()
    crowd.check()


@pytest.mark.slow
def test_consumers_hear_of_sockets_for_which_systemd_had_no_room(service: Restarted) -> None:
    with open_raw(service) as one, open_raw(service) as other:
        service.systemd.most = 3  # the state, a listening socket, and one more
        service.restart()
        [end] = service.workers.wait_for("websocket.disconnect")
        assert end.message["code"] == 1006
        closed = [client for client in (one, other) if is_closed(client)]
        assert len(closed) == 1


def is_closed(client: socket.socket) -> bool:
    client.settimeout(0.5)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False


@pytest.mark.slow
def test_ctrl_c_closes_the_sockets_of_a_service_as_ever(service: Restarted) -> None:
    with open_raw(service) as client:
        service.now.running.send_signal(signal.SIGINT)
        assert client.recv(100)[2:4] == (1012).to_bytes(2, "big")
    service.now.wait_for_end()
    assert service.systemd.kept == []


def test_what_cannot_be_gone_on_with_is_closed_with_a_sentence(service: Restarted) -> None:
    with open_raw(service) as client:
        service.now.stop()
        assert len(service.systemd.kept) == 3
        service.start("--unordered").wait_to_say("closing 2 sockets that wait with systemd", "Listening")
        assert client.recv(100) == b""
        assert service.systemd.kept == []
