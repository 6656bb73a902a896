"""Reports of a server that real clients use."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from channel_layer.facts import BOUNDS
from channel_layer.memory import MemoryChannelLayer
from interface_server import reporting
from tests.conftest import wait_until
from tests.interface_server.fakes import FlakyLayer
from tests.interface_server.helpers import Consumer, Running, running, silent, status_of


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "REPORT_SECONDS", 0.05)


def report_of(server: Running, condition: Callable[[dict[str, Any]], object] = bool) -> dict[str, Any]:
    """The next report of which the condition is true."""

    def look() -> dict[str, Any] | None:
        reports = [dict(report.content) for report in server.layer.reports()]
        return reports[0] if len(reports) == 1 and condition(reports[0]) else None

    return wait_until(look, "such a report")  # type: ignore[return-value]


def refusing(status_or_close: dict[str, Any]) -> Consumer:
    return lambda workers, delivery: workers.reply(delivery, status_or_close)


def test_sockets_are_counted_by_path_from_the_handshake_to_the_end() -> None:
    with running() as server:
        with connect(server.url("/chat/17/")) as client:
            client.send("x")
            assert client.recv(timeout=20) == "x"
            report = report_of(server, lambda report: sum(report["turn_seconds"]["counts"]) == 2)
            assert report["frames"] == 1
            assert report["sockets"] == {"/chat/*/": 1}
            assert report["handshakes"] == {"accepted": 1}
            assert report["handshaking"] == 0
            assert report["last_wills"] == 0  # in memory nobody would be left to send them
            assert len(report["turn_seconds"]["counts"]) == len(BOUNDS) + 1
        report = report_of(server, lambda report: not report["sockets"])
        assert report["closes"] == {"client": 1}


@pytest.mark.parametrize(
    ("consumers", "handshakes"),
    [({"websocket.connect": refusing({"accept": False})}, {"403": 1}), ({"websocket.connect": silent}, {"503": 1})],
)
def test_handshakes_that_fail_are_counted_by_their_answer(
    consumers: dict[str, Consumer], handshakes: dict[str, int]
) -> None:
    with running(consumers, accept_timeout=0.1) as server:
        with pytest.raises(InvalidStatus), connect(server.url()):
            pass
        report = report_of(server, lambda report: report["handshakes"])
        assert (report["handshakes"], report["handshaking"], report["sockets"]) == (handshakes, 0, {})


def test_a_client_that_leaves_during_its_handshake_is_counted() -> None:
    with running({"websocket.connect": silent}) as server:
        with server.connect() as client:
            client.sendall(
                b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            report_of(server, lambda report: report["handshaking"] == 1)
        assert report_of(server, lambda report: not report["handshaking"])["handshakes"] == {"left": 1}


def test_sockets_that_this_side_closes_are_counted_by_cause() -> None:
    with running({"websocket.receive": refusing({"close": 4000})}, websocket_max_message=10) as server:
        for text in ("x", "x" * 11):
            with connect(server.url()) as client:
                client.send(text)
                with pytest.raises(ConnectionClosed):
                    client.recv(timeout=20)
        report = report_of(server, lambda report: sum(report["closes"].values()) == 2)
        assert report["closes"] == {"consumer": 1, "message too big": 1}


def test_requests_are_counted_by_status_and_refusals_apart() -> None:
    with running() as server:
        assert status_of(server.get()) == 200
        assert status_of(server.ask(b"GET / HTTP/1.1\r\n\r\n")) == 400
        report = report_of(server, lambda report: report["requests"] and report["refused"])
        assert (report["requests"], report["refused"], report["requesting"]) == ({"200": 1}, {"400": 1}, 0)
        assert sum(report["request_seconds"]["counts"]) == 1


def test_the_members_that_a_message_to_a_group_reaches_are_counted() -> None:
    with running() as server, connect(server.url()) as one, connect(server.url()) as two:
        for delivery in server.workers.wait_for("websocket.connect", 2):
            server.layer.group_add("team", delivery.message["reply_channel"])
        server.layer.send_group("team", {"text": "hello"})
        assert (one.recv(timeout=20), two.recv(timeout=20)) == ("hello", "hello")
        assert report_of(server, lambda report: report["deliveries"])["deliveries"] == 2


def test_an_outage_shows_in_the_first_report_after_it() -> None:
    with running(layer=FlakyLayer()) as server:
        report = report_of(server)
        assert report["layer"]["up"] is True
        assert report["layer"]["failures"] == 0
        server.layer.away = True
        wait_until(lambda: server.context.uplink.down, "the server to notice")
        assert status_of(server.get()) == 503
        server.layer.away = False
        report = report_of(server, lambda report: report["layer"]["up"] and report["layer"]["failures"])
        assert report["requests"] == {"503": 1}


def test_a_server_that_ends_says_so() -> None:
    layer = MemoryChannelLayer()
    with running(layer=layer) as server:
        report_of(server, lambda report: report["state"] == "running")
        server.stop()
        assert [report.content["state"] for report in layer.reports()] == ["ended"]


class Bare(MemoryChannelLayer):
    extensions = [name for name in MemoryChannelLayer.extensions if name != "reports"]


def test_a_layer_without_the_extension_is_served_and_gets_no_report(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "interface_server"), running(layer=Bare()) as server:
        assert status_of(server.get()) == 200
        assert server.layer.reports() == []
    assert "report" not in caplog.text
