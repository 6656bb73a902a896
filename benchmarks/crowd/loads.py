"""Loads over open sockets: echoes, joining a group, and sends to it. Each checks every byte of every answer.

The loops are written flat, for speed: one system call to read, one comparison with the bytes that must
come, one system call to write. Whatever is not exactly those bytes goes the slow way, by `Connection.take`.
"""

from __future__ import annotations

import os
import random
import select
import time
from dataclasses import dataclass, field

from websockets.frames import Opcode

from .sockets import READ, STALL, Connection, LoadError, client_frame, server_frame, watch

PAYLOAD = 100
"""Bytes of a payload, if no other size is asked for."""

BURST = 20
"""Messages to the group that one frame asks for in `group` with bursts."""

PAUSE = 0.25
"""Seconds between two bursts."""

_VARIANTS = 8
"""Different payloads of one socket, used in turn: a repeated or swapped echo is noticed. Large ones have fewer."""

_JOINING = 500
"""Sockets that wait for their answer at a time: below what a channel holds, so that nobody is refused."""


@dataclass
class Load:
    """Operations of a load, and their times.

    Attributes:
        count: operations completed in the measured time.
        seconds: the measured time.
        latencies: seconds of each operation; of a send to a group, until the last member had it.
    """

    count: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)


def echo(connections: list[Connection], seconds: float, opcode: Opcode = Opcode.TEXT, size: int = PAYLOAD) -> Load:
    """Keep one message on its way per socket, and compare every echo with it. After the time the last ones are awaited.

    Raises:
        LoadError: an echo was wrong or did not come.
    """
    poll, by_fd = watch(connections)
    variants = range(max(1, min(_VARIANTS, READ // size)))
    payloads = [[_payload(opcode, connection.number, each, size) for each in variants] for connection in connections]
    frames = [[client_frame(opcode, payload) for payload in each] for each in payloads]
    echoes = [[server_frame(opcode, payload) for payload in each] for each in payloads]
    read, write, clock, at_once = os.read, os.write, time.perf_counter, max(READ, size)
    load = Load()
    latencies = load.latencies
    began = clock()
    end = began + seconds
    for connection in connections:
        connection.turn = 0
        connection.expect(echoes[connection.number][0])
        connection.sent = clock()
        _begin(poll, connection, frames[connection.number][0])
    busy = len(connections)
    while busy:
        events = poll.poll(STALL)
        if not events:
            raise LoadError(f"no echo came for {STALL:.0f} s")
        for fd, event in events:
            connection = by_fd[fd]
            if event & select.EPOLLOUT:
                _begin(poll, connection, connection.unsent)
                if not event & ~select.EPOLLOUT:
                    continue
            data = read(fd, at_once)
            now = clock()
            if (data != connection.expected or connection.got) and not connection.take(data):
                continue
            if not connection.expected:
                continue  # its last echo has come, and this was a ping
            if now < end or not latencies:
                latencies.append(now - connection.sent)
                load.seconds = now - began
            if now >= end:
                busy -= 1
                connection.expect(b"")
                continue
            number = connection.number
            connection.turn = turn = (connection.turn + 1) % len(variants)
            connection.expected, connection.got, connection.sent = echoes[number][turn], 0, now
            frame = frames[number][turn]
            if size > PAYLOAD:
                _begin(poll, connection, frame)
            else:
                write(fd, frame)
    load.count = len(latencies)
    return load


def _payload(opcode: Opcode, number: int, variant: int, size: int) -> bytes:
    if opcode is Opcode.BINARY:
        return random.Random(f"{number} {variant}").randbytes(size)
    return f"socket {number} message {variant} ".encode().ljust(size, b".")


def _begin(poll: select.epoll, connection: Connection, data: bytes | memoryview) -> None:
    """Write as much as the socket takes, and watch for room as long as there is a rest."""
    waited = bool(connection.unsent)
    try:
        written = os.write(connection.fd, data)
    except BlockingIOError:
        written = 0
    connection.unsent = memoryview(data)[written:]
    if waited or connection.unsent:
        poll.modify(connection.fd, select.EPOLLIN | (select.EPOLLOUT if connection.unsent else 0))


def join(connections: list[Connection]) -> Load:
    """Let each socket send ``join`` once and wait for ``joined``; then one message to the group must reach them all.

    The time is that from the first ``join`` to the last ``joined``; the message to all is not in it.

    Raises:
        LoadError: an answer was wrong or did not come, or a socket is not a member after all.
    """
    poll, by_fd = watch(connections)
    request, answer = client_frame(Opcode.TEXT, b"join"), server_frame(Opcode.TEXT, b"joined")
    waiting = iter(connections)
    load = Load()
    missing = len(connections)
    began = time.perf_counter()

    def ask_next() -> None:
        if (following := next(waiting, None)) is not None:
            following.expect(answer)
            following.sent = time.perf_counter()
            os.write(following.fd, request)

    for _ in range(_JOINING):
        ask_next()
    while missing:
        events = poll.poll(STALL)
        if not events:
            raise LoadError(f"{missing} sockets were not let in within {STALL:.0f} s")
        for fd, _ in events:
            if by_fd[fd].take(os.read(fd, READ)):
                load.latencies.append(time.perf_counter() - by_fd[fd].sent)
                missing -= 1
                ask_next()
    load.count, load.seconds = len(connections), time.perf_counter() - began
    gather(connections)
    return load


def gather(connections: list[Connection]) -> None:
    """Send to the group once and wait until all have it: from then on everybody is known to be a member.

    Raises:
        LoadError: a delivery was wrong, came twice or did not come.
    """
    poll, by_fd = watch(connections)
    _send_to_all(poll, by_fd, connections[0], "send 0 ", ["send 0 "])


def group(connections: list[Connection], seconds: float, *, bursts: bool = False) -> Load:
    """One member sends, all members get it, the next one sends; every delivery is checked. Counted are the sends.

    Args:
        connections: members, all of them.
        seconds: for how long; one send at least.
        bursts: have `BURST` messages sent at once, and again `PAUSE` seconds after all have them, uncounted.

    Raises:
        LoadError: a delivery was wrong, came twice or did not come.
    """
    poll, by_fd = watch(connections)
    load = Load()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not load.count:
        number = len(load.latencies) + 1
        text = f"{BURST} times {number}" if bursts else f"send {number} "
        texts = [f"{text} {each} " for each in range(BURST)] if bursts else [text]
        if bursts:
            time.sleep(PAUSE)
        began = time.perf_counter()
        _send_to_all(poll, by_fd, connections[number % len(connections)], text, texts)
        load.latencies.append(time.perf_counter() - began)
        load.count += len(texts)
    load.seconds = sum(load.latencies)
    return load


def _send_to_all(
    poll: select.epoll, by_fd: dict[int, Connection], sender: Connection, text: str, answers: list[str]
) -> None:
    expected = b"".join(server_frame(Opcode.TEXT, each.encode().ljust(PAYLOAD, b".")) for each in answers)
    sent = text.encode() if len(answers) > 1 else text.encode().ljust(PAYLOAD, b".")
    read, whole, size, missing = os.read, len(expected), len(expected) // len(answers), len(by_fd)
    for connection in by_fd.values():
        connection.expected, connection.got, connection.frame = expected, 0, size
    os.write(sender.fd, client_frame(Opcode.TEXT, sent))
    while missing:
        events = poll.poll(STALL)
        if not events:
            raise LoadError(f"{text!r} did not reach {missing} of {len(by_fd)} members in {STALL:.0f} s")
        for fd, _ in events:
            connection = by_fd[fd]
            data = read(fd, READ)
            if data == expected and not connection.got:
                connection.got = whole
                missing -= 1
            elif connection.take(data):
                missing -= 1
