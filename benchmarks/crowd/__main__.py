"""The client of the studies, one process per load: ``python -m benchmarks.crowd '{"kind": "hold", ...}'``.

As `benchmarks.client` it opens its sockets, prints ``ready``, waits for a line on its standard input, puts the load on
and prints one line of JSON: what the load says, ``cpu`` (seconds of this process), or ``error``. Each further line has
it put the load on once more, over the same sockets; it ends with its input.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from ..figures import percentile
from ..frames import FrameError
from ..loads import Load, echo
from ..sockets import Connection, LoadError, allow_many_files
from . import bodies, members, messages
from .many_sockets import handshakes, hold, open_many
from .order import Order

HOST = "127.0.0.1"

Answer = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Carry one order out; returns the exit status, 1 if that was not possible."""
    order = Order(**json.loads((sys.argv[1:] if arguments is None else arguments)[0]))
    allow_many_files()
    try:
        prepare, run = KINDS[order.kind]
        opened = prepare(order)
        print("ready", flush=True)
        gc.disable()  # nothing here makes cycles, and a pause would be the server's fault
        if order.kind == "hold":
            hold(opened, sys.stdin.fileno())
        while sys.stdin.readline():
            used = time.process_time()
            answer = run(order, opened)
            print(json.dumps({**answer, "cpu": time.process_time() - used}), flush=True)
    except (LoadError, FrameError, OSError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    return 0


def summary(load: Load) -> Answer:
    """A load in figures; latencies in seconds."""
    marks = {f"p{share}": percentile(load.latencies, share / 100) for share in (50, 99)} if load.latencies else {}
    return {"count": load.count, "seconds": load.seconds, **marks}


def _open(order: Order) -> list[Connection]:
    return open_many(HOST, order.port, order.path, order.sockets)


def _nothing(order: Order) -> list[Connection]:
    return []


def _members(order: Order) -> list[Connection]:
    connections = _open(order)
    members.join(connections)
    return connections


def _hold(order: Order, connections: list[Connection]) -> Answer:
    return {"count": len(connections)}


def _handshakes(order: Order, connections: list[Connection]) -> Answer:
    return summary(handshakes(HOST, order.port, order.path, order.sockets, order.seconds))


def _echo(order: Order, connections: list[Connection]) -> Answer:
    return summary(echo(connections, order.seconds))


def _bursts(order: Order, connections: list[Connection]) -> Answer:
    return summary(members.bursts(connections, order.seconds))


def _join(order: Order, connections: list[Connection]) -> Answer:
    return summary(members.join(connections))


def _messages(order: Order, connections: list[Connection]) -> Answer:
    return summary(messages.exchange(connections, order.size, order.seconds))


def _upload(order: Order, connections: list[Connection]) -> Answer:
    return {"seconds": bodies.upload(HOST, order.port, order.path, order.size)}


def _download(order: Order, connections: list[Connection]) -> Answer:
    return {"seconds": bodies.download(HOST, order.port, order.path, order.size)}


KINDS: dict[str, tuple[Callable[[Order], list[Connection]], Callable[[Order, list[Connection]], Answer]]] = {
    "hold": (_open, _hold),
    "handshakes": (_nothing, _handshakes),
    "echo": (_open, _echo),
    "join": (_open, _join),
    "bursts": (_members, _bursts),
    "messages": (_open, _messages),
    "upload": (_nothing, _upload),
    "download": (_nothing, _download),
}
"""Name → what opens the sockets before ``ready``, and the load."""

if __name__ == "__main__":
    sys.exit(main())
