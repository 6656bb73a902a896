"""Two loads: echoes, and sends to a group. Each checks every answer.

The loops are written flat, for speed: one system call to read, one comparison with the bytes that must
come, one system call to write. Whatever is not exactly those bytes goes the slow way through the reader.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .frames import TEXT, client_frame, server_frame
from .sockets import MASK, STALL, Connection, LoadError, watch

PAYLOAD = 100
"""Bytes of every payload."""

_VARIANTS = 8
"""Different payloads of one socket, used in turn: a repeated or swapped echo is noticed."""

_READ = 65_536


@dataclass
class Load:
    """Operations of a load, and their times.

    Attributes:
        count: operations completed in the measured time.
        seconds: the measured time.
        latencies: seconds of each operation; of a group send, until the last member had it.
    """

    count: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)


def echo(connections: list[Connection], seconds: float) -> Load:
    """Keep one frame on its way per socket, and compare every echo with it.

    Raises:
        LoadError: an echo was wrong or did not come.
    """
    poll, by_fd = watch(connections)
    frames = [[client_frame(TEXT, _payload(c.number, v), MASK) for v in range(_VARIANTS)] for c in connections]
    echoes = [[server_frame(TEXT, _payload(c.number, v)) for v in range(_VARIANTS)] for c in connections]
    read, write, clock = os.read, os.write, time.perf_counter
    load = Load()
    latencies = load.latencies
    began = clock()
    end = began + seconds
    for connection in connections:
        connection.turn = 0
        connection.expected = echoes[connection.number][0]
        connection.sent = clock()
        write(connection.fd, frames[connection.number][0])
    now = began
    while now < end:
        events = poll.poll(STALL)
        if not events:
            raise LoadError(f"no echo came for {STALL:.0f} s")
        for fd, _ in events:
            connection = by_fd[fd]
            data = read(fd, _READ)
            now = clock()
            if data != connection.expected and not _echo_came(connection, data):
                continue
            latencies.append(now - connection.sent)
            number = connection.number
            connection.turn = turn = (connection.turn + 1) % _VARIANTS
            connection.expected = echoes[number][turn]
            connection.sent = now
            write(fd, frames[number][turn])
    load.count = len(latencies)
    load.seconds = now - began
    waiting = set(by_fd)

    def last_echo(connection: Connection, data: bytes) -> None:
        if data == connection.expected or _echo_came(connection, data):
            waiting.discard(connection.fd)

    _drain(poll, by_fd, lambda: bool(waiting), last_echo)
    return load


def _payload(number: int, variant: int) -> bytes:
    return f"socket {number} message {variant} ".encode().ljust(PAYLOAD, b".")


def _echo_came(connection: Connection, data: bytes) -> bool:
    """Tell if the echo is complete after a read that was not just the expected frame."""
    messages = connection.messages(data)
    if not messages:
        connection.expected = None
        return False
    if messages != [(TEXT, _payload(connection.number, connection.turn))] or connection.reader.buffered:
        raise LoadError(f"socket {connection.number} got {messages[:3]!r} in place of its echo")
    return True


def gather(connections: list[Connection]) -> None:
    """Send to the group once and wait until all have it: from then on everybody is known to be a member.

    Raises:
        LoadError: a delivery was wrong, came twice or did not come.
    """
    poll, by_fd = watch(connections)
    _send_to_all(poll, by_fd, connections[0], 1)


def group(connections: list[Connection], seconds: float) -> Load:
    """One member sends, all members get it, the next one sends; every delivery is checked and counted.

    Raises:
        LoadError: a delivery was wrong, came twice or did not come.
    """
    poll, by_fd = watch(connections)
    load = Load()
    number = 1  # was that of `gather`
    began = now = time.perf_counter()
    while now < began + seconds:
        number += 1
        _send_to_all(poll, by_fd, connections[number % len(connections)], number)
        finished = time.perf_counter()
        load.latencies.append(finished - now)
        now = finished
    load.count = len(load.latencies) * len(connections)
    load.seconds = now - began
    return load


def _send_to_all(poll: select.epoll, by_fd: dict[int, Connection], sender: Connection, number: int) -> None:
    payload = f"send {number} ".encode().ljust(PAYLOAD, b".")
    expected = server_frame(TEXT, payload)
    missing = len(by_fd)
    for connection in by_fd.values():
        connection.expected = expected
    read = os.read
    os.write(sender.fd, client_frame(TEXT, payload, MASK))
    while missing:
        events = poll.poll(STALL)
        if not events:
            raise LoadError(f"send {number} did not reach {missing} of {len(by_fd)} members in {STALL:.0f} s")
        for fd, _ in events:
            connection = by_fd[fd]
            data = read(fd, _READ)
            if data == connection.expected or _delivery_came(connection, data, payload, number):
                connection.expected = None  # whatever else comes for this send is looked at
                connection.turn = number
                missing -= 1


def _delivery_came(connection: Connection, data: bytes, payload: bytes, number: int) -> bool:
    """Tell if the delivery is complete after a read that was not just the expected frame."""
    connection.expected = None
    messages = connection.messages(data)
    if not messages:
        return False
    if messages != [(TEXT, payload)] or connection.reader.buffered or connection.turn == number:
        raise LoadError(f"member {connection.number} got {messages[:3]!r} instead of one {payload.rstrip(b'.')!r}")
    return True


def _drain(
    poll: select.epoll,
    by_fd: dict[int, Connection],
    unfinished: Callable[[], bool],
    take: Callable[[Connection, bytes], None],
) -> None:
    while unfinished():
        events = poll.poll(STALL)
        if not events:
            raise LoadError(f"some answers did not come in {STALL:.0f} s")
        for fd, _ in events:
            take(by_fd[fd], os.read(fd, _READ))
