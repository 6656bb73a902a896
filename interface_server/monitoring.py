"""Health and metrics over HTTP: the answers, and a port of their own for them.

The port is served by a thread, so it answers while an event loop or all consumers hang, which is what health is asked
for. Nothing here is written to the access log.
"""

from __future__ import annotations

import http.server
import ipaddress
import logging
import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple

from .options import OptionsError

logger = logging.getLogger("interface_server.monitoring")

HEALTH_PATH, READY_PATH, METRICS_PATH = "/-/healthz", "/-/readyz", "/metrics"
"""Paths on a port of their own."""

SECONDS = 10.0
"""The longest pause of a client there."""

_PLAIN = "text/plain; charset=utf-8"


class Condition(NamedTuple):
    """The answer to a question about health.

    Attributes:
        good: whether all is well.
        text: a few words on it.
    """

    good: bool
    text: str


ALL_WELL = Condition(True, "ok")


class Answer(NamedTuple):
    """A small response."""

    status: int
    content_type: str
    content: bytes


class Answers:
    """Answers of one process. Each question may be asked in any thread.

    Args:
        health: whether the process works at all; one that does not is to be restarted.
        ready: whether it is to be given work.
        metrics: renders metrics for an ``Accept`` header.
    """

    def __init__(
        self,
        health: Callable[[], Condition],
        ready: Callable[[], Condition],
        metrics: Callable[[str], tuple[str, bytes]] | None = None,
    ) -> None:
        self.health = health
        self.ready = ready
        self._metrics = metrics

    def at(self, path: str, accept: str = "") -> Answer:
        """The answer for a path on a port of their own. Metrics may block."""
        if path == HEALTH_PATH:
            return condition_answer(self.health())
        if path == READY_PATH:
            return condition_answer(self.ready())
        if path == METRICS_PATH and self._metrics is not None:
            return self.metrics(accept)
        return Answer(404, _PLAIN, b"There are /-/healthz, /-/readyz and /metrics.\n")

    def metrics(self, accept: str) -> Answer:
        """The metrics, or an answer that says that they cannot be made."""
        try:
            assert self._metrics is not None
            return Answer(200, *self._metrics(accept))
        except Exception:
            logger.exception("metrics cannot be made")
            return Answer(500, _PLAIN, b"Metrics cannot be made; see the log.\n")


def condition_answer(condition: Condition) -> Answer:
    """The answer that says so."""
    return Answer(200 if condition.good else 503, _PLAIN, condition.text.encode() + b"\n")


def parse_address(text: str) -> tuple[str, int]:
    """``PORT``, ``HOST:PORT`` or ``[V6]:PORT``; without a host it is loopback. Raises `OptionsError`."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise OptionsError(
            f"{text!r} cannot be a place for metrics; write a port, as 9101, or a host and a port, as 0.0.0.0:9101"
        )
    return host, int(port)


class Port:
    """A port of its own for `Answers`.

    Args:
        place: see `parse_address`.
        answers: what is answered.
        shared: whether another process that asks for the same may listen there, too.

    Attributes:
        address: where it listens.

    Raises:
        OptionsError: it cannot listen there.
    """

    def __init__(self, place: str, answers: Answers, shared: bool = False) -> None:
        host, port = parse_address(place)
        try:
            self._server = _Server(host, port, answers, shared)
        except OSError as error:
            reason = error.strerror or error
            raise OptionsError(f"cannot listen on {host} port {port} (--metrics): {reason}; name another") from None
        self.address = host, self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="monitoring", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        logger.info("Metrics and health on http://%s:%d", *self.address)

    def close(self) -> None:
        """Answer nothing more."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, answers: Answers, shared: bool) -> None:
        self.answers = answers
        self._shared = shared
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind, without asking for the name of the host, which may take long."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._shared:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Take note of a client that left."""
        logger.debug("a request for metrics or health was not answered: %s", sys.exception())


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = SECONDS

    def do_GET(self) -> None:
        """Answer."""
        path = self.path.partition("?")[0]
        answer = self.server.answers.at(path, self.headers.get("Accept", ""))
        self.send_response(answer.status, HTTPStatus(answer.status).phrase)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content)

    do_HEAD = do_GET

    def version_string(self) -> str:
        """Name no software."""
        return "millrace"

    def log_message(self, format: str, *args: Any) -> None:
        """Write no line."""


def trusted(peer: tuple[str, int] | None, headers: list[tuple[bytes, bytes]], networks: tuple[str, ...]) -> bool:
    """True if a request comes from one of the networks itself: what a proxy passes on does not."""
    if peer is None or any(name in (b"x-forwarded-for", b"forwarded", b"x-real-ip") for name, _ in headers):
        return False
    try:
        address = ipaddress.ip_address(peer[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)
