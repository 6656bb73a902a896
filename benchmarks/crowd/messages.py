"""Echoes of any size: one message on its way per socket, written and read as far as the socket takes and gives it."""

from __future__ import annotations

import random
import select
import time

from ..frames import BINARY, client_frame, server_frame
from ..loads import Load
from ..sockets import MASK, STALL, Connection, LoadError
from .expected import matched

_READ = 1_048_576


class _Exchange:
    """One socket's message: what of it is still to be written, what of the echo is still to come."""

    __slots__ = ("connection", "echo", "frame", "got", "sent", "writing")

    def __init__(self, connection: Connection, size: int) -> None:
        payload = random.Random(connection.number).randbytes(size)
        self.connection = connection
        self.frame = memoryview(client_frame(BINARY, payload, MASK))
        self.echo = server_frame(BINARY, payload)
        self.writing = self.frame
        self.got = 0
        self.sent = 0.0

    def begin(self, now: float) -> None:
        """Start over; the next message is the same, which is checked in length and in every byte."""
        self.writing, self.got, self.sent = self.frame, 0, now
        self.write()

    def write(self) -> None:
        """Write as much as the socket takes."""
        while self.writing:
            try:
                self.writing = self.writing[self.connection.sock.send(self.writing) :]
            except BlockingIOError:
                return

    def read(self) -> bool:
        """Read once; whether the echo is complete."""
        data = self.connection.sock.recv(_READ)
        self.got = matched(self.connection, self.echo, len(self.echo), self.got, data)
        return self.got == len(self.echo)


def exchange(connections: list[Connection], size: int, seconds: float) -> Load:
    """Keep one binary message on its way per socket, and compare every byte of every echo.

    Raises:
        LoadError: an echo was wrong or did not come.
    """
    poll = select.epoll()
    by_fd = {connection.fd: _Exchange(connection, size) for connection in connections}
    for fd, each in by_fd.items():
        each.connection.sock.setblocking(False)
        poll.register(fd, select.EPOLLIN)
    load = Load()
    began = now = time.perf_counter()
    end = began + seconds
    busy = set(by_fd)
    for each in by_fd.values():
        each.begin(now)
        _watch(poll, each)
    while busy:
        events = poll.poll(STALL)
        if not events:
            raise LoadError(f"no echo came for {STALL:.0f} s")
        for fd, event in events:
            each = by_fd[fd]
            if event & select.EPOLLOUT:
                each.write()
            if event & ~select.EPOLLOUT and each.read():
                now = time.perf_counter()
                if now < end or not load.count:
                    load.latencies.append(now - each.sent)
                    load.count, load.seconds = load.count + 1, now - began
                if now < end:
                    each.begin(now)
                else:
                    busy.discard(fd)
            _watch(poll, each)
    return load


def _watch(poll: select.epoll, each: _Exchange) -> None:
    poll.modify(each.connection.fd, select.EPOLLIN | (select.EPOLLOUT if each.writing else 0))
