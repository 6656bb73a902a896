"""Health, readiness and metrics of a server, on the port of its clients."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from websockets.sync.client import connect

from channel_layer.memory import MemoryChannelLayer
from interface_server import reporting
from tests.conftest import wait_until
from tests.interface_server.fakes import FlakyLayer
from tests.interface_server.helpers import Running, body_of, respond, running, status_of

PATHS = {"health_path": "/-/healthz", "ready_path": "/-/readyz"}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "REPORT_SECONDS", 0.05)


def becomes(server: Running, status: int, text: bytes, path: str = "/-/readyz") -> None:
    wait_until(
        lambda: (status_of(answer := server.get(path)), body_of(answer)) == (status, text + b"\n"),
        f"{path} to be {status} {text.decode()}",
    )


def test_a_server_answers_for_itself_without_a_worker_and_without_a_line_in_its_log(tmp_path: Any) -> None:
    log = tmp_path / "access.log"
    with running(access_log=str(log), **PATHS) as server:
        becomes(server, 200, b"ok")
        becomes(server, 200, b"ok", "/-/healthz")
        assert status_of(server.get("/-/healthz", method="HEAD")) == 200
        assert server.workers.on("http.request") == []
        assert status_of(server.get("/-/healthz", method="POST")) == 200  # the application's
        assert [item.message["method"] for item in server.workers.on("http.request")] == ["POST"]
        wait_until(lambda: log.exists() and log.read_text(), "the line of the request")
    assert log.read_text().count("\n") == 1
    assert "POST /-/healthz" in log.read_text()


def test_where_no_path_is_given_the_application_gets_the_request() -> None:
    with running({"http.request": respond(b"mine")}) as server:
        assert body_of(server.get("/-/healthz")) == b"mine"


def test_a_server_without_its_layer_is_alive_and_not_ready() -> None:
    with running(layer=FlakyLayer(), **PATHS) as server:
        becomes(server, 200, b"ok")
        server.layer.away = True
        becomes(server, 503, b"the channel layer is away")
        becomes(server, 200, b"ok", "/-/healthz")
        server.layer.away = False
        becomes(server, 200, b"ok")


def test_a_server_may_want_a_worker_that_listens() -> None:
    layer = MemoryChannelLayer()
    with running(layer=layer, ready_needs_worker=True, **PATHS) as server:
        becomes(server, 503, b"no worker listens")
        content = {"kind": "worker", "state": "running", "channels": ["mail"]}
        layer.publish_report("worker.a", content)
        becomes(server, 503, b"no worker listens")
        layer.publish_report("worker.a", {**content, "channels": ["mail", "websocket.connect"]})
        becomes(server, 200, b"ok")
        layer.publish_report("worker.a", {**content, "channels": ["websocket.connect"], "state": "draining"})
        becomes(server, 503, b"no worker listens")


def test_a_server_that_is_to_end_is_not_ready_before_it_closes_anything() -> None:
    with running(**PATHS) as server, connect(server.url()) as client:
        becomes(server, 200, b"ok")
        server.server._application.drain()
        becomes(server, 503, b"the server is about to end")
        becomes(server, 200, b"ok", "/-/healthz")
        client.send("still here")
        assert client.recv(timeout=20) == "still here"
        reports = [report.content["state"] for report in server.layer.reports()]
        wait_until(lambda: [report.content["state"] for report in server.layer.reports()] == ["draining"], str(reports))


def test_a_server_that_stops_drains_first() -> None:
    seen: list[tuple[bool, int]] = []
    with running(**PATHS) as server:
        context = server.context
        pause = server.server._pause
        server.server._pause = lambda: (seen.append((context.draining, len(server.server._servers))), pause())[1]  # type: ignore[method-assign]
        server.stop()
    assert seen == [(True, 1)]


def test_a_server_whose_event_loop_hangs_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interface_server.monitor.LOST_SECONDS", 0.7)
    release = threading.Event()
    with running(**PATHS) as server:
        monitor = server.server._application.monitor
        assert monitor is not None
        becomes(server, 200, b"ok", "/-/healthz")
        server.server._loop.call_soon_threadsafe(release.wait, 30)  # type: ignore[union-attr]
        try:
            condition = wait_until(lambda: None if monitor.health().good else monitor.health(), "the loop to be missed")
            assert condition.text.startswith("the event loop has not turned for")
            assert not monitor.ready().good
        finally:
            release.set()
        wait_until(lambda: monitor.health().good, "the loop to turn again")
        wait_until(lambda: server.context.facts.stalled_seconds > 0.1, "the stall to be counted")


def test_metrics_go_to_those_who_may_see_them() -> None:
    pytest.importorskip("prometheus_client")
    with running(metrics_path="/metrics", metrics_allow=("127.0.0.0/8",)) as server, connect(server.url("/chat/")):
        answer = server.get("/metrics")
        assert status_of(answer) == 200
        assert b'millrace_websockets_open{path="/chat/"} 1.0' in body_of(answer)
        assert body_of(server.get("/metrics", "X-Forwarded-For: 127.0.0.1\r\n")) == b"ok"
    with running(metrics_path="/metrics", metrics_allow=("10.0.0.0/8",)) as server:
        assert body_of(server.get("/metrics")) == b"ok"


def test_answers_of_the_server_keep_their_place_behind_those_of_consumers() -> None:
    release = threading.Event()

    def slow(workers: Any, delivery: Any) -> None:
        release.wait(20)
        workers.reply(delivery, {"status": 200, "content": b"first"})

    with running({"http.request": slow}, **PATHS) as server, server.connect() as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /-/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        server.workers.wait_for("http.request")
        release.set()
        received = b""
        deadline = time.monotonic() + 20
        while b"ok\n" not in received and time.monotonic() < deadline:
            received += client.recv(65_536)
        assert received.index(b"first") < received.index(b"ok\n")
