"""Every socket asks to be let into a group; then all get what one of them has sent to it, many messages at once."""

from __future__ import annotations

import os
import select
import time

from ..frames import TEXT, client_frame, server_frame
from ..loads import PAYLOAD, Load, gather
from ..sockets import MASK, STALL, Connection, LoadError, watch
from .expected import matched

JOIN = b"join"
JOINED = b"joined"
_WINDOW = 500
"""Sockets that wait for their answer at a time: below what a channel holds, so that nobody is refused."""

BURST = 20
"""Messages to the group that one frame asks for."""

PAUSE = 0.25
"""Seconds between two bursts."""


def join(connections: list[Connection]) -> Load:
    """Let each socket send ``join`` once and wait for ``joined``; then one message to the group must reach them all.

    The time is that from the first ``join`` to the last ``joined``; the message to all is not in it.

    Raises:
        LoadError: an answer was wrong or did not come, or a socket is not a member after all.
    """
    poll, by_fd = watch(connections)
    request, answer = client_frame(TEXT, JOIN, MASK), server_frame(TEXT, JOINED)
    waiting = iter(connections)
    load = Load()
    began = time.perf_counter()
    missing = len(connections)
    for connection in [next(waiting) for _ in range(min(_WINDOW, missing))]:
        connection.sent = time.perf_counter()
        os.write(connection.fd, request)
    while missing:
        events = poll.poll(STALL)
        if not events:
            raise LoadError(f"{missing} sockets were not let in within {STALL:.0f} s")
        now = time.perf_counter()
        for fd, _ in events:
            connection = by_fd[fd]
            data = os.read(fd, 65_536)
            if not matched(connection, answer, len(answer), 0, data):
                continue
            load.latencies.append(now - connection.sent)
            missing -= 1
            following = next(waiting, None)
            if following is not None:
                following.sent = now
                os.write(following.fd, request)
    load.count, load.seconds = len(connections), time.perf_counter() - began
    gather(connections)
    return load


def bursts(connections: list[Connection], seconds: float) -> Load:
    """Have `BURST` messages sent to the group at once, and again `PAUSE` seconds after all members have all of them.

    Every byte is checked. The pauses are not part of the measured time.

    Raises:
        LoadError: a member got something else, or not everything.
    """
    poll, by_fd = watch(connections)
    load = Load()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not load.count:
        time.sleep(PAUSE)
        number = len(load.latencies)
        text = f"{BURST} times {number}"
        expected = b"".join(
            server_frame(TEXT, f"{text} {each} ".encode().ljust(PAYLOAD, b".")) for each in range(BURST)
        )
        began = time.perf_counter()
        os.write(connections[number % len(connections)].fd, client_frame(TEXT, text.encode(), MASK))
        _until_all_have(poll, by_fd, expected)
        load.latencies.append(time.perf_counter() - began)
        load.count += BURST
    load.seconds = sum(load.latencies)
    return load


def _until_all_have(poll: select.epoll, by_fd: dict[int, Connection], expected: bytes) -> None:
    missing = dict.fromkeys(by_fd, 0)
    while missing:
        events = poll.poll(STALL)
        if not events:
            raise LoadError(f"{len(missing)} of {len(by_fd)} members did not get all {BURST} messages in {STALL:.0f} s")
        for fd, _ in events:
            got = missing.pop(fd, len(expected))
            got = matched(by_fd[fd], expected, len(expected) // BURST, got, os.read(fd, 65_536))
            if got < len(expected):
                missing[fd] = got
