"""Every socket asks to be let into a group, all at once."""

from __future__ import annotations

import os
import time

from ..frames import TEXT, client_frame, server_frame
from ..loads import Load, gather
from ..sockets import MASK, STALL, Connection, LoadError, watch

JOIN = b"join"
JOINED = b"joined"
_WINDOW = 500
"""Sockets that wait for their answer at a time: below what a channel holds, so that nobody is refused."""


def join(connections: list[Connection]) -> Load:
    """Let each socket send ``join`` once and wait for ``joined``; then one message to the group must reach them all.

    The time is that from the first ``join`` to the last ``joined``; the message to all is not in it.

    Raises:
        LoadError: an answer was wrong or did not come, or a socket is no member after all.
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
            if data != answer and connection.messages(data) != [(TEXT, JOINED)]:
                raise LoadError(f"socket {connection.number} was answered with {data[:60]!r} instead of {JOINED!r}")
            load.latencies.append(now - connection.sent)
            missing -= 1
            following = next(waiting, None)
            if following is not None:
                following.sent = now
                os.write(following.fd, request)
    load.count, load.seconds = len(connections), time.perf_counter() - began
    gather(connections)
    return load
