"""Thousands of WebSockets in one client process: held open, or opened and closed in a loop."""

from __future__ import annotations

import base64
import os
import select
import socket
import time

from ..frames import CLOSE, FrameError, FrameReader, check_handshake, client_frame, handshake_request
from ..loads import Load
from ..sockets import MASK, STALL, Connection, LoadError, connect, open_websockets, watch

PER_SOURCE = 4_000
"""Sockets from one loopback address: a pair of addresses has 28,000 ports, and a closed one is busy for a minute."""

_KEY = base64.b64encode(b"millrace-measure").decode()
_GOODBYE = client_frame(CLOSE, (1000).to_bytes(2, "big"), MASK)


def source(number: int) -> str:
    """The loopback address from which this process opens its socket of this number; no other process uses it soon."""
    return f"127.{1 + os.getpid() % 250}.{os.getpid() // 250 % 250}.{1 + number // PER_SOURCE % 250}"


def open_many(host: str, port: int, path: str, count: int) -> list[Connection]:
    """Open WebSockets as `open_websockets` does; more than one pair of addresses has ports for."""
    opened: list[Connection] = []
    while len(opened) < count:
        part = open_websockets(host, port, path, min(PER_SOURCE, count - len(opened)), source(len(opened)))
        for connection in part:
            connection.number += len(opened)
        opened += part
    return opened


def hold(connections: list[Connection], until: int) -> None:
    """Keep sockets open and answer pings until there is something to read on a descriptor.

    Raises:
        LoadError: the server closed one, or said something.
    """
    poll, by_fd = watch(connections)
    poll.register(until, select.EPOLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == until:
                return
            said = by_fd[fd].messages(os.read(fd, 65_536))
            if said:
                raise LoadError(f"the server said {said[:1]!r} on an idle socket")


class _Opening:
    """A socket on its way through handshake and close."""

    __slots__ = ("began", "data", "is_open", "reader", "sock")

    def __init__(self, sock: socket.socket, began: float) -> None:
        self.sock = sock
        self.began = began
        self.data = b""
        self.is_open = False
        self.reader = FrameReader()


def handshakes(host: str, port: int, path: str, concurrent: int, seconds: float) -> Load:
    """Open WebSockets and close them again, so many at a time; counted is what was opened and closed.

    The latency is that of the handshake. A socket counts once the server has answered its close frame with the same
    code; after the time is up, what is under way is finished and not counted.

    Raises:
        LoadError: a handshake or a close was not answered.
        FrameError: it was answered wrongly.
    """
    under_way: dict[int, _Opening] = {}
    try:
        return _open_and_close(host, port, path, concurrent, seconds, under_way)
    finally:
        for opening in under_way.values():
            opening.sock.close()


def _open_and_close(
    host: str, port: int, path: str, concurrent: int, seconds: float, under_way: dict[int, _Opening]
) -> Load:
    request = handshake_request(f"{host}:{port}", path, _KEY)
    poll = select.epoll()
    load = Load()
    started = 0
    began = now = time.perf_counter()
    while now < began + seconds or under_way:
        while now < began + seconds and len(under_way) < concurrent:
            opening = _Opening(connect(host, port, source(started)), time.perf_counter())
            under_way[opening.sock.fileno()] = opening
            poll.register(opening.sock.fileno(), select.EPOLLIN)
            opening.sock.sendall(request)
            started += 1
        events = poll.poll(STALL)
        if not events:
            raise LoadError(f"{len(under_way)} handshakes or closes were not answered in {STALL:.0f} s")
        now = time.perf_counter()
        for fd, _ in events:
            if _finished(under_way[fd], load, now):
                poll.unregister(fd)
                under_way.pop(fd).sock.close()
                if now < began + seconds:
                    load.count += 1
                    load.seconds = now - began
    return load


def _finished(opening: _Opening, load: Load, now: float) -> bool:
    """Take what came for a socket; whether it is closed now."""
    data = opening.sock.recv(65_536)
    if not data:
        raise LoadError("the server closed a connection in the middle of a handshake or a close")
    if not opening.is_open:
        opening.data += data
        head, end, data = opening.data.partition(b"\r\n\r\n")
        if not end:
            return False
        check_handshake(head, _KEY)
        load.latencies.append(now - opening.began)
        opening.is_open = True
        opening.sock.sendall(_GOODBYE)
    for opcode, payload in opening.reader.feed(data):
        if opcode != CLOSE or payload[:2] != (1000).to_bytes(2, "big"):
            raise FrameError(f"a close was answered with {opcode}, {payload[:20]!r}")
        return True
    return False
