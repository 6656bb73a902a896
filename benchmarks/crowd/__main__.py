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

from websockets.frames import Opcode

from ..figures import percentile
from . import Order, bodies
from .loads import Load, echo, gather, group, join
from .openings import handshakes, hold
from .sockets import Connection, LoadError, allow_many_files, open_websockets
from .steady import Steady, steady

HOST = "127.0.0.1"

Sockets = list[Connection]
Answer = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Carry one order out; returns the exit status, 1 if that was not possible."""
    order = Order(**json.loads((sys.argv[1:] if arguments is None else arguments)[0]))
    allow_many_files()
    try:
        count = 0 if order.kind in WITHOUT else order.sockets
        opened = open_websockets(HOST, order.port, order.path, count, order.browser)
        if order.kind in MEMBERS:
            MEMBERS[order.kind](opened)
        print("ready", flush=True)
        gc.disable()  # nothing here makes cycles, and a pause would be the server's fault
        while True:
            if order.kind in QUIET:
                hold(opened, sys.stdin.fileno())
            if not sys.stdin.readline():
                break
            used = time.process_time()
            answer = KINDS[order.kind](order, opened)
            print(json.dumps({**answer, "cpu": time.process_time() - used}), flush=True)
    except (LoadError, OSError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    return 0


def summary(load: Load, each: int = 1) -> Answer:
    """Summarize a load: operations (so many for each that it counted), seconds, percentiles of its latencies."""
    marks = {f"p{share}": percentile(load.latencies, share / 100) for share in (50, 99)} if load.latencies else {}
    return {"count": load.count * each, "seconds": load.seconds, **marks}


def pauses(load: Steady) -> Answer:
    """Summarize a steady load; the pause of a socket is the longest time that it waited for an answer."""
    marks = {f"pause_p{share}": percentile(load.longest, share / 100) for share in (50, 99)}
    return {
        "sent": load.sent,
        "p50": percentile(load.latencies, 0.5) if load.latencies else 0.0,
        "longest": max(load.longest),
        "lost": load.lost,
        "closed": load.closed,
        **marks,
    }


WITHOUT = {"handshakes", "upload", "download"}
"""Loads that open their connections themselves."""

QUIET = {"hold", "steady"}
"""Loads whose sockets are kept open for long between two runs, so that pings have to be answered."""

MEMBERS: dict[str, Callable[[Sockets], object]] = {"group": gather, "bursts": join}
"""Loads before which all sockets must be members of the group, and how that is ensured."""

KINDS: dict[str, Callable[[Order, Sockets], Answer]] = {
    "hold": lambda order, opened: {"count": len(opened)},
    "handshakes": lambda order, opened: summary(handshakes(HOST, order.port, order.path, order.sockets, order.seconds)),
    "echo": lambda order, opened: summary(echo(opened, order.seconds)),
    "messages": lambda order, opened: summary(echo(opened, order.seconds, Opcode.BINARY, order.size)),
    "steady": lambda order, opened: pauses(steady(opened, order.seconds)),
    "group": lambda order, opened: summary(group(opened, order.seconds), len(opened)),
    "bursts": lambda order, opened: summary(group(opened, order.seconds, bursts=True)),
    "join": lambda order, opened: summary(join(opened)),
    "upload": lambda order, opened: {"seconds": bodies.upload(HOST, order.port, order.path, order.size)},
    "download": lambda order, opened: {"seconds": bodies.download(HOST, order.port, order.path, order.size)},
}

if __name__ == "__main__":
    sys.exit(main())
