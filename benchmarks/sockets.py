"""Many client sockets in one process: opened in batches, watched with one epoll object."""

from __future__ import annotations

import base64
import os
import resource
import select
import socket
from collections.abc import Iterable

from .frames import CLOSE, PING, PONG, FrameReader, check_handshake, client_frame, handshake_request

MASK = b"\x37\xfa\x21\x3d"
"""One masking key for every frame: servers unmask all of them alike, and frames can be made beforehand."""

STALL = 15.0
"""Seconds without any progress after which a load has failed."""

_BATCH = 50
_IP_BIND_ADDRESS_NO_PORT = 24  # ip(7); Python 3.11 has no name for it


class LoadError(Exception):
    """The load could not be carried through: an answer was wrong, or did not come."""


class Connection:
    """One open socket and what its load remembers about it.

    Attributes:
        expected: the bytes that the next read should return; ``None`` sends every read to the reader.
        turn: which of its messages is on its way.
        sent: when that was sent, by `time.perf_counter`.
    """

    __slots__ = ("expected", "fd", "number", "reader", "sent", "sock", "turn")

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.number = number
        self.reader = FrameReader()
        self.expected: bytes | None = None
        self.turn = 0
        self.sent = 0.0

    def messages(self, data: bytes) -> list[tuple[int, bytes]]:
        """Messages in what was read, the slow way: any cut, and pings, which are answered.

        Raises:
            LoadError: the server closed the connection.
        """
        if not data:
            raise LoadError(f"the server closed connection {self.number}")
        found = []
        for opcode, payload in self.reader.feed(data):
            if opcode == PING:
                os.write(self.fd, client_frame(PONG, payload, MASK))
            elif opcode == CLOSE:
                raise LoadError(f"the server closed connection {self.number} with {int.from_bytes(payload[:2], 'big')}")
            else:
                found.append((opcode, payload))
        return found


def allow_many_files() -> None:
    """Raise this process's limit of open files, which its children inherit, as far as it may go."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connect(host: str, port: int, source: str = "") -> socket.socket:
    """Open a TCP connection with Nagle's algorithm off, from the address ``source`` if it is given.

    It is a blocking socket that waits for `STALL` seconds at most.
    """
    sock = socket.socket()
    try:
        sock.settimeout(STALL)
        if source:
            # The port is chosen when both addresses are known: a search among the ports of one takes milliseconds
            # as soon as thousands of them were used in the last minute.
            sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
        sock.connect((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def open_websockets(host: str, port: int, path: str, count: int, source: str = "") -> list[Connection]:
    """Open WebSockets, `_BATCH` handshakes at a time, from the address ``source`` if it is given.

    Raises:
        FrameError: a handshake was refused.
        OSError: the server cannot be reached or does not answer in `STALL` seconds.
    """
    key = base64.b64encode(b"millrace-measure").decode()
    request = handshake_request(f"{host}:{port}", path, key)
    opened: list[Connection] = []
    while len(opened) < count:
        numbers = range(len(opened), min(len(opened) + _BATCH, count))
        batch = [Connection(connect(host, port, source), number) for number in numbers]
        for connection in batch:
            connection.sock.sendall(request)
        for connection in batch:
            head, rest = _read_head(connection.sock)
            check_handshake(head, key)
            if rest:
                raise LoadError(f"the server spoke first on connection {connection.number}: {rest[:60]!r}")
        opened += batch
    return opened


def _read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(4096)
        if not more:
            raise LoadError("the server closed a connection during the handshake")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def watch(connections: Iterable[Connection]) -> tuple[select.epoll, dict[int, Connection]]:
    """An epoll object for reading from connections, and the connections by descriptor."""
    poll = select.epoll()
    by_fd = {}
    for connection in connections:
        connection.sock.setblocking(False)
        poll.register(connection.fd, select.EPOLLIN)
        by_fd[connection.fd] = connection
    return poll, by_fd
