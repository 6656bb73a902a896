"""The load client, one process per round: ``python -m benchmarks.client echo --port 8000 --sockets 50``.

It opens its sockets (and for ``group`` sees that all are members), prints ``ready`` and waits for a line on its
standard input, so that whoever started it can read the clocks of the servers in between. Then it puts the load on
and prints one line of JSON: ``count``, ``seconds``, ``p50``, ``p90``, ``p99`` (seconds), ``cpu`` (seconds of this
process) or ``error``.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time

from .figures import percentile
from .frames import FrameError
from .loads import Load, echo, gather, group, http
from .sockets import Connection, LoadError, allow_many_files, open_tcp, open_websockets

HOST = "127.0.0.1"
PATHS = {"echo": "/echo/", "group": "/group/"}


def main(arguments: list[str] | None = None) -> int:
    """Run one load; returns the exit status, 1 if it could not be carried through."""
    options = _parser().parse_args(arguments)
    allow_many_files()
    try:
        connections = _open(options)
        print("ready", flush=True)
        if not sys.stdin.readline():
            return 1
        gc.disable()  # nothing here makes cycles, and a pause would be the server's fault
        used = time.process_time()
        load = _run(options, connections)
        print(json.dumps(_summary(load, time.process_time() - used)))
    except (LoadError, FrameError, OSError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.client", description="Put one load on a server.")
    parser.add_argument("load", choices=["http", "echo", "group"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--sockets", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--body", default="Hello, world.\n", help="what every answer to a request must be (http)")
    return parser


def _open(options: argparse.Namespace) -> list[Connection]:
    if options.load == "http":
        return open_tcp(HOST, options.port, options.sockets)
    connections = open_websockets(HOST, options.port, PATHS[options.load], options.sockets)
    if options.load == "group":
        gather(connections)
    return connections


def _run(options: argparse.Namespace, connections: list[Connection]) -> Load:
    if options.load == "http":
        return http(connections, f"{HOST}:{options.port}", options.body.encode(), options.seconds)
    return {"echo": echo, "group": group}[options.load](connections, options.seconds)


def _summary(load: Load, cpu: float) -> dict[str, float]:
    marks = {f"p{share}": percentile(load.latencies, share / 100) for share in (50, 90, 99)}
    return {"count": load.count, "seconds": load.seconds, "cpu": cpu, **marks}


if __name__ == "__main__":
    sys.exit(main())
