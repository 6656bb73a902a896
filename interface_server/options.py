"""Every setting of an interface server, with its default."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, fields
from typing import Any

ANY_PEER = "*"
"""Trusted proxy that stands for every peer (a platform's router has no fixed address)."""

_MAY_BE_ZERO = frozenset(
    {"ping_interval", "ping_timeout", "verbosity", "keep_alive", "websocket_life", "drain_seconds"}
)


class OptionsError(ValueError):
    """A setting that cannot work; the text is one sentence that names it."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Limits, times and behaviour of an interface server.

    Sizes are bytes, times are seconds.

    Attributes:
        websocket_max_message: largest WebSocket message taken from a client, else close 1009.
        websocket_max_fragments: most fragments of one message, else close 1009.
        permessage_deflate: offer compression of WebSocket messages. Costs a context per socket, and
            a message to a group is then encoded for each member.
        header_max_bytes: all header fields of a request together, else 431.
        header_max_fields: number of header fields, else 431.
        request_line_max: method, target and version, else 414.
        header_timeout: from the opening of a connection, or the first byte of a later request, to the end of
            the headers, else 408.
        body_inline: of a request's body, what travels in the ``http.request`` message.
        body_chunk: size of the chunks that carry the rest.
        body_max: largest request body, else 413.
        body_memory: of a request's body, what is held in memory; more goes to the spool file.
        stream_bodies: hand a request over before its body is complete. A client that sends slowly then
            holds a thread of a worker.
        body_timeout: longest pause of a client while it sends a body, else 408.
        accept_timeout: how long a handshake waits for a consumer to accept or deny, else 503.
        http_timeout: how long a request waits for the beginning of its answer, else 504; also
            the longest a client may stop reading a response.
        keep_alive: how long an idle HTTP connection stays open; 0 closes it after each response.
        max_connections: HTTP and WebSocket connections together, else 503. As many as the system's limit of
            open files allows, if these are fewer.
        retry_after: what a 503 says in its ``Retry-After`` header.
        ping_interval: pause between pings on a WebSocket; 0 sends none.
        ping_timeout: how long a pong may take, else the socket is closed; 0 waits without limit.
        outbox_bytes: what waits for one WebSocket client at most, else close 1013.
        outbox_timeout: how long a WebSocket client may take nothing of what waits, else close 1013.
        close_timeout: how long a client may take to answer a close frame.
        response_buffer: of a response, what waits in memory at most, if the disk does not take it; a worker
            that ignores flow reports past it has the connection cut.
        response_spool: of a response, what waits for a slow client in all; the worker waits at this
            limit, and has the connection cut past it.
        spool_dir: directory of the spool file; empty for the system's directory for temporary files.
        spool_bytes: what the spool file may hold for all connections together; beyond it large bodies get 503, and
            workers wait for slow clients.
        spool_memory: what bodies and responses may hold in memory together before each goes to the file early.
        websocket_life: longest life of a WebSocket, else close 1001; 0 is no limit.
        turn_timeout: how long a connection waits for a consumer before it sends the next message. It counts from when a
            worker took the message: one that waits on its channel keeps the next one back, until it expires.
        unordered: do not wait for a consumer before sending a socket's next message.
        send_timeout: how long a frame waits for room on its channel, else close 1013.
        outage_timeout: how long a frame waits for a broker that is away, else close 1013.
        uplink_bytes: what may wait for the channel layer in all; past it requests get 503. As much again is
            read ahead from WebSockets whose frames wait; past it they are not read.
        state_max: largest state a consumer may leave with its connection.
        graceful_timeout: longest stop of the server. Responses of unknown length that are still being produced after a
            quarter of it are cut, others after five sixths; consumers at work for a WebSocket get half.
        drain_seconds: when the server stops, close WebSockets one after the other over so long, before the time of
            ``graceful_timeout`` begins. For servers whose successor listens already.
        takeover: path of a Unix socket over which the next server takes over the open sockets of this one, as this one
            does from the server that listens there; or ``systemd``, in whose store they wait from one to the next;
            empty for none.
        subprotocols: WebSocket subprotocols spoken, in order of preference.
        root_path: where the application is mounted (WSGI's ``SCRIPT_NAME``).
        proxy_headers: take a client's address and scheme from ``X-Forwarded-*`` of trusted proxies.
        trusted_proxies: addresses or networks of those proxies; ``*`` trusts every peer.
        access_log: path of a file, ``-`` for standard output, empty for none.
        health_path: path at which the server itself says whether it works; empty for none.
        ready_path: path at which it says whether it is to get new connections; empty for none.
        ready_needs_worker: it is not while no worker listens.
        metrics_path: path at which it gives its metrics to clients in ``metrics_allow``; empty for none.
        metrics_allow: addresses or networks of those clients. What a proxy passes on is never answered.
        metrics: port, or host and port, of its own for metrics and health; empty for none.
        trace_events: keep the last events of every WebSocket for ``manage.py millrace connection``, and not only of
            those that somebody has looked at.
        verbosity: 0 errors and warnings, 1 what happens to the server, 2 each message.

    Raises:
        OptionsError: for a value that cannot work.
    """

    websocket_max_message: int = 1_048_576
    websocket_max_fragments: int = 1_024
    permessage_deflate: bool = False
    header_max_bytes: int = 65_536
    header_max_fields: int = 100
    request_line_max: int = 8_192
    header_timeout: float = 10
    body_inline: int = 262_144
    body_chunk: int = 262_144
    body_max: int = 104_857_600
    body_memory: int = 262_144
    stream_bodies: bool = False
    body_timeout: float = 30
    accept_timeout: float = 5
    http_timeout: float = 60
    keep_alive: float = 5
    max_connections: int = 10_000
    retry_after: int = 5
    ping_interval: float = 20
    ping_timeout: float = 20
    outbox_bytes: int = 1_048_576
    outbox_timeout: float = 10
    close_timeout: float = 10
    response_buffer: int = 16_777_216
    response_spool: int = 1_073_741_824
    spool_dir: str = ""
    spool_bytes: int = 4_294_967_296
    spool_memory: int = 16_777_216
    websocket_life: float = 86_400
    turn_timeout: float = 30
    unordered: bool = False
    send_timeout: float = 10
    outage_timeout: float = 30
    uplink_bytes: int = 67_108_864
    state_max: int = 16_384
    graceful_timeout: float = 30
    drain_seconds: float = 0
    takeover: str = ""
    subprotocols: tuple[str, ...] = ()
    root_path: str = ""
    proxy_headers: bool = False
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    access_log: str = ""
    health_path: str = ""
    ready_path: str = ""
    ready_needs_worker: bool = False
    metrics_path: str = ""
    metrics_allow: tuple[str, ...] = ()
    metrics: str = ""
    trace_events: bool = False
    verbosity: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_type(field.name, getattr(self, field.name), type(field.default))
        for proxy in self.trusted_proxies:
            if proxy != ANY_PEER:
                _check_network("trusted_proxies", proxy, ", or '*'")
        for network in self.metrics_allow:
            _check_network("metrics_allow", network)
        self._check_own_paths()
        if self.root_path and (not self.root_path.startswith("/") or self.root_path.endswith("/")):
            raise OptionsError(f"root_path must begin with '/' and not end with one, not {self.root_path!r}")

    def _check_own_paths(self) -> None:
        """Refuse paths of the server's own answers that cannot work, and what is given without them."""
        own = [path for path in (self.health_path, self.ready_path, self.metrics_path) if path]
        for path in own:
            if not path.startswith("/"):
                raise OptionsError(f"a path of the server's own answers begins with '/', which {path!r} does not")
        if len(set(own)) < len(own):
            raise OptionsError("health_path, ready_path and metrics_path must differ from each other")
        if bool(self.metrics_path) != bool(self.metrics_allow):
            raise OptionsError("metrics_path and metrics_allow go together: one says where, the other for whom")
        if self.ready_needs_worker and not self.ready_path and not self.metrics:
            raise OptionsError("ready_needs_worker goes with ready_path or metrics, which are not there")


def _check_type(name: str, value: Any, kind: type) -> None:
    if kind is int or kind is float:
        whole = Options.__annotations__[name] == "int"
        wanted = "a whole number" if whole else "a number"
        least = "0 or more" if name in _MAY_BE_ZERO else "above 0"
        if not isinstance(value, int if whole else (int, float)) or isinstance(value, bool):
            raise OptionsError(f"{name} must be {wanted}, not {value!r}")
        if value < 0 or (value == 0 and name not in _MAY_BE_ZERO) or value != value:
            raise OptionsError(f"{name} must be {least}, not {value!r}")
    elif kind is tuple:
        if not isinstance(value, tuple) or not all(isinstance(item, str) and item for item in value):
            raise OptionsError(f"{name} must be a tuple of names, not {value!r}")
    elif not isinstance(value, kind):
        raise OptionsError(f"{name} must be {kind.__name__}, not {value!r}")


def _check_network(name: str, network: str, or_else: str = "") -> None:
    try:
        ipaddress.ip_network(network, strict=False)
    except ValueError:
        raise OptionsError(
            f"{name} holds {network!r}, which is not an IP address, a network such as 10.0.0.0/8{or_else}"
        ) from None
