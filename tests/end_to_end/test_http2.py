"""HTTP/2 and WebSockets over TLS: the interface server under Hypercorn, workers, and real clients."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import httpx
import pytest
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from tests.channel_layer.redis.certificates import make_certificate
from tests.conftest import free_port, wait_until
from tests.end_to_end.processes import ROOT, Service


class Site:
    """The test project under Hypercorn with a worker, and what a client needs to trust it."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        certificate, key = make_certificate(directory)
        self.certificate = certificate
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.channels.settings",
            "TEST_DATABASE": str(directory / "database.sqlite3"),
            "TEST_CHANNEL_FILE": str(directory / "layer.sqlite3"),
        }
        django = [sys.executable, "-m", "django"]
        subprocess.run([*django, "migrate", "-v0"], cwd=ROOT, env=os.environ | environment, check=True, timeout=300)
        self.web = Service(
            "hypercorn",
            # It would cut connections that have not asked for anything in five seconds, new ones included.
            [sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{self.port}", "--keep-alive", "120",
             "--certfile", str(certificate), "--keyfile", str(key), "tests.end_to_end.asgi_project:application"],
            environment, directory,
        )  # fmt: skip
        self.worker = Service("worker", [*django, "runworker"], environment, directory)

    @property
    def context(self) -> ssl.SSLContext:
        """One for each client, because clients set in it what protocols they speak."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def client(self) -> httpx.Client:
        return httpx.Client(http1=False, http2=True, verify=self.context, base_url=self.url, timeout=60)

    def answers(self) -> bool:
        assert self.web.running
        assert self.worker.running
        try:
            with self.client() as client:
                return client.get("/hello/").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("http2"))
    with site.web, site.worker:
        wait_until(site.answers, "an answer over HTTP/2")
        yield site
        site.web.stop()
        site.worker.stop()


def test_a_page_comes_over_http_2_and_knows_it(site: Site) -> None:
    with site.client() as client:
        response = client.get("/describe/?q=1", headers={"cookie": "a=b"})
    assert (response.http_version, response.status_code) == ("HTTP/2", 200)
    told = response.json()
    assert (told["method"], told["full"], told["get"]) == ("GET", "/describe/?q=1", {"q": ["1"]})
    assert told["secure"]
    assert told["uri"] == f"{site.url}/describe/?q=1"
    assert told["cookies"] == {"a": "b"}


def test_forms_and_large_bodies_arrive(site: Site) -> None:
    content = os.urandom(3_000_000)
    with site.client() as client:
        form = client.post("/form/", data={"name": "Ada"}, files={"file": ("f.bin", content)}).json()
        chunked = client.post("/read_in_parts/", content=iter([content[:1_000_000], content[1_000_000:]])).json()
    assert form["post"] == {"name": ["Ada"]}
    assert form["files"]["file"][0]["size"] == len(content)
    assert form["files"]["file"][0]["sha"] == chunked["sha"]


def test_sessions_and_several_cookies_work(site: Site) -> None:
    with site.client() as client:
        assert [client.get("/count/").text for _ in range(2)] == ["1", "2"]
        cookies = client.get("/cookies/").headers.get_list("set-cookie")
    assert [cookie.partition("=")[0] for cookie in cookies] == ["first", "second"]


def test_responses_are_streamed_and_large_ones_complete(site: Site) -> None:
    with site.client() as client:
        assert client.get("/stream/").text == "part 0\npart 1\npart 2\n"
        assert client.get("/asynchronous_stream/").text == "tick 0\ntick 1\ntick 2\n"
        assert client.get("/big/").content == b"0123456789" * 131_072


def test_many_requests_share_one_connection_at_the_same_time(site: Site) -> None:
    async def main() -> None:
        limits = httpx.Limits(max_connections=1)
        async with (
            httpx.AsyncClient(
                http1=False, http2=True, verify=site.context, base_url=site.url, timeout=60, limits=limits
            ) as client,
            client.stream("GET", "/endless/") as endless,
        ):
            chunks = endless.aiter_bytes()
            assert await anext(chunks)
            responses = await asyncio.gather(*[client.get(f"/describe/?n={n}") for n in range(20)])
            assert [one.json()["get"]["n"] for one in responses] == [[str(n)] for n in range(20)]
            assert await anext(chunks)

    asyncio.run(main())


def test_websockets_over_tls_come_as_an_upgrade_of_http_1(site: Site) -> None:
    with connect(f"wss://127.0.0.1:{site.port}/room/tls/", ssl=site.context) as client:
        for number in (1, 2):
            client.send("hello")
            assert client.recv(timeout=60) == f"{number} nobody: hello"
        with connect(f"wss://127.0.0.1:{site.port}/room/tls/", ssl=site.context) as other:
            other.send("from the other")
            assert client.recv(timeout=60) == "1 nobody: from the other"
        assert client.recv(timeout=60) == "somebody left"


class Http2:
    """One HTTP/2 connection, by hand: no client library opens WebSockets over it."""

    def __init__(self, site: Site) -> None:
        context = site.context
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", site.port), 20)
        self.socket = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.events: list[Any] = []
        self.data = b""
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def until(self, condition: Callable[[], Any]) -> Any:
        """Read until the condition comes true, and return it."""
        while not (found := condition()):
            received = self.socket.recv(65_536)
            assert received, f"closed; {self.events}"
            for event in self.h2.receive_data(received):
                self.events.append(event)
                if isinstance(event, h2.events.DataReceived):
                    self.data += event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.flush()
        return found

    def has(self, kind: type) -> Any:
        return next((event for event in self.events if isinstance(event, kind)), None)


def test_websockets_may_share_an_http_2_connection(site: Site) -> None:
    """RFC 8441."""
    client = Http2(site)
    client.until(lambda: client.has(h2.events.RemoteSettingsChanged))
    settings = client.has(h2.events.RemoteSettingsChanged).changed_settings
    assert settings[h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL].new_value == 1
    authority = f"127.0.0.1:{site.port}"
    stream = client.h2.get_next_available_stream_id()
    client.h2.send_headers(stream, [
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/room/shared/"),
        (":authority", authority), ("sec-websocket-version", "13"), ("origin", site.url),
    ])  # fmt: skip
    client.flush()
    response = client.until(lambda: client.has(h2.events.ResponseReceived))
    assert dict(response.headers)[":status"] == "200"
    client.h2.send_data(stream, Frame(Opcode.TEXT, b"hello").serialize(mask=True, extensions=[]))
    client.flush()
    expected = Frame(Opcode.TEXT, b"1 nobody: hello").serialize(mask=False, extensions=[])
    client.until(lambda: len(client.data) >= len(expected))
    assert client.data == expected
    client.socket.close()
