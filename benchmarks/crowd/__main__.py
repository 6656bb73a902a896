"""The client, one process for each load: ``python -m benchmarks.crowd '{"kind": "hold", ...}'``.

It opens its sockets (and for ``group`` checks that all are members), prints ``ready`` and waits for a line on its
standard input, so that the clocks of the servers can be read in between. Then it runs the load and prints one line of
JSON: the figures of the load, ``cpu`` (seconds of this process), or ``error``. Each further line runs the load once
more, over the same sockets; the process ends with its input.
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
from ..loads import Load, echo, gather, group
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
    """Summarize a load: operations, seconds, and percentiles of its latencies in seconds."""
    marks = {f"p{share}": percentile(load.latencies, share / 100) for share in (50, 99)} if load.latencies else {}
    return {"count": load.count, "seconds": load.seconds, **marks}


def _open(order: Order) -> list[Connection]:
    return open_many(HOST, order.port, order.path, order.sockets)


def _members(order: Order, enter: Callable[[list[Connection]], object]) -> list[Connection]:
    connections = _open(order)
    enter(connections)
    return connections


Prepare = Callable[[Order], list[Connection]]
Run = Callable[[Order, list[Connection]], Answer]

KINDS: dict[str, tuple[Prepare, Run]] = {
    "hold": (_open, lambda order, opened: {"count": len(opened)}),
    "handshakes": (
        lambda order: [],
        lambda order, opened: summary(handshakes(HOST, order.port, order.path, order.sockets, order.seconds)),
    ),
    "echo": (_open, lambda order, opened: summary(echo(opened, order.seconds))),
    "group": (lambda order: _members(order, gather), lambda order, opened: summary(group(opened, order.seconds))),
    "join": (_open, lambda order, opened: summary(members.join(opened))),
    "bursts": (
        lambda order: _members(order, members.join),
        lambda order, opened: summary(members.bursts(opened, order.seconds)),
    ),
    "messages": (_open, lambda order, opened: summary(messages.exchange(opened, order.size, order.seconds))),
    "upload": (
        lambda order: [],
        lambda order, opened: {"seconds": bodies.upload(HOST, order.port, order.path, order.size)},
    ),
    "download": (
        lambda order: [],
        lambda order, opened: {"seconds": bodies.download(HOST, order.port, order.path, order.size)},
    ),
}
"""By name: the function that opens the sockets before ``ready``, and the load."""

if __name__ == "__main__":
    sys.exit(main())
