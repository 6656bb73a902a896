"""A steady load: every socket sends a numbered frame again and again, whether or not the last one was answered."""

from __future__ import annotations

import heapq
import os
import time
from collections import deque
from dataclasses import dataclass, field

from websockets.frames import Opcode

from .loads import PAYLOAD
from .sockets import READ, Connection, LoadError, client_frame, watch

INTERVAL = 0.5
"""Seconds between two frames of a socket."""

LEAST_TAIL = 12.0
"""Seconds that late answers get after the last frame."""

_HEAD = 2


@dataclass
class Steady:
    """Outcome of the frames.

    Attributes:
        sent: frames.
        latencies: seconds until the answer, of those that had one.
        longest: of each socket, the longest of them.
        lost: frames without an answer, although a later one had one or the time is over.
        closed: sockets that the server has closed.
    """

    sent: int = 0
    latencies: list[float] = field(default_factory=list)
    longest: list[float] = field(default_factory=list)
    lost: int = 0
    closed: int = 0


def steady(connections: list[Connection], seconds: float) -> Steady:
    """Have each socket send a frame every `INTERVAL`, spread over that time, and wait for the last answers.

    Raises:
        LoadError: something came that was not sent, came twice or in another order.
    """
    poll, by_fd = watch(connections)
    load = Steady(longest=[0.0] * len(connections))
    waiting: dict[int, deque[tuple[bytes, float]]] = {connection.fd: deque() for connection in connections}
    buffers = {connection.fd: b"" for connection in connections}
    began = time.perf_counter()
    spread = INTERVAL / max(1, len(connections))
    due = [(began + place * spread, connection.fd, 0) for place, connection in enumerate(connections)]
    end = began + seconds
    open_ = set(by_fd)
    while open_:
        now = time.perf_counter()
        while due and due[0][0] <= now:
            when, fd, number = heapq.heappop(due)
            if fd not in open_ or when >= end:
                continue
            payload = f"socket {by_fd[fd].number} frame {number} ".encode().ljust(PAYLOAD, b".")
            waiting[fd].append((payload, when))
            os.write(fd, client_frame(Opcode.TEXT, payload))
            load.sent += 1
            heapq.heappush(due, (when + INTERVAL, fd, number + 1))
        if not due and (now > end + LEAST_TAIL or not any(waiting[fd] for fd in open_)):
            break
        for fd, _ in poll.poll(max(0.0, due[0][0] - time.perf_counter()) if due else 0.1):
            try:
                data = os.read(fd, READ)
            except ConnectionResetError:
                data = b""
            now = time.perf_counter()
            buffers[fd], is_open = _take(by_fd[fd], buffers[fd] + data, waiting[fd], load, now)
            if not data or not is_open:
                load.closed += 1
                open_.discard(fd)
                poll.unregister(fd)
    load.lost += sum(map(len, waiting.values()))
    return load


def _take(
    connection: Connection, data: bytes, waiting: deque[tuple[bytes, float]], load: Steady, now: float
) -> tuple[bytes, bool]:
    """Take whole frames off what has come; returns the rest, and whether the socket stays open."""
    while len(data) >= _HEAD and len(data) >= (size := _HEAD + (data[1] & 0x7F)):
        kind, payload, data = data[0] & 0x0F, data[_HEAD:size], data[size:]
        if kind == Opcode.CLOSE:
            return data, False
        if kind == Opcode.PING:
            os.write(connection.fd, client_frame(Opcode.PONG, payload))
            continue
        if all(payload != sent for sent, _ in waiting):
            raise LoadError(f"socket {connection.number} got what it did not wait for: {payload[:60]!r}")
        while True:
            sent, when = waiting.popleft()
            if payload == sent:
                break
            load.lost += 1
        load.latencies.append(now - when)
        load.longest[connection.number] = max(load.longest[connection.number], now - when)
    return data, True
