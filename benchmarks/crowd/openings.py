"""Loads that only open sockets: held open and idle, or opened and closed in a loop."""

from __future__ import annotations

import os
import select
import socket
import time

from websockets.frames import Opcode

from .loads import Load
from .sockets import (
    READ,
    STALL,
    Connection,
    LoadError,
    after_handshake,
    client_frame,
    connect,
    handshake_request,
    server_frame,
    watch,
)

_GOODBYE = (1000).to_bytes(2, "big")


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
            by_fd[fd].take(os.read(fd, READ))


def handshakes(host: str, port: int, path: str, concurrent: int, seconds: float) -> Load:
    """Open WebSockets and close them again, so many at a time; counted is what was opened and closed.

    The latency is that of the handshake. A socket counts once the server has answered its close frame with the same
    code; after the time is up, what is under way is finished and not counted.

    Raises:
        LoadError: a handshake or a close was not answered, or wrongly.
    """
    request = handshake_request(host, port, path)
    close, closed = client_frame(Opcode.CLOSE, _GOODBYE), server_frame(Opcode.CLOSE, _GOODBYE)
    under_way: dict[int, tuple[socket.socket, float, bytes | None]] = {}
    """By descriptor: the socket, when it was opened, and what came so far; ``None`` once it is open."""
    poll = select.epoll()
    load = Load()
    started = 0
    began = now = time.perf_counter()
    try:
        while now < began + seconds or under_way:
            while now < began + seconds and len(under_way) < concurrent:
                sock = connect(host, port, started)
                under_way[sock.fileno()] = sock, time.perf_counter(), b""
                poll.register(sock.fileno(), select.EPOLLIN)
                sock.sendall(request)
                started += 1
            events = poll.poll(STALL)
            if not events:
                raise LoadError(f"{len(under_way)} handshakes or closes were not answered in {STALL:.0f} s")
            now = time.perf_counter()
            for fd, _ in events:
                sock, opened, head = under_way[fd]
                data = sock.recv(READ)
                if not data:
                    raise LoadError("the server closed a connection in the middle of a handshake or a close")
                if head is not None:
                    rest = after_handshake(head + data)
                    under_way[fd] = sock, opened, head + data if rest is None else None
                    if rest is None:
                        continue
                    load.latencies.append(now - opened)
                    sock.sendall(close)
                    if not rest:
                        continue
                    data = rest
                if data != closed:
                    raise LoadError(f"a close was answered with {data[:60]!r}")
                poll.unregister(fd)
                under_way.pop(fd)[0].close()
                if now < began + seconds:
                    load.count += 1
                    load.seconds = now - began
        return load
    finally:
        for sock, _, _ in under_way.values():
            sock.close()
