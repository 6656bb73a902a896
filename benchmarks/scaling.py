"""Needs of a deployment, from measured costs: ``python -m benchmarks.scaling results/<date>-<name>.json``.

The model is on paper: a process may use `FILLED` of a core, memory and connections are counted, costs are those
of the machine that was measured. docs/scaling.md explains it and shows the tables this prints.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .figures import kibibytes, markdown, mebibytes
from .figures import middle as median

FILLED = 0.6
"""The part of a core, of a server's memory or of a network link that is planned with; the rest is for peaks."""

CONNECTIONS = 10_000
"""Most connections of an interface process: ``daphne --max-connections``, its default."""

THREADS = 4
"""Threads of a worker process, its default."""

MOST_HALVINGS = 10
"""Most halvings of a workload in the search for the number of installations."""

LINK = 1.25e9
"""Bytes a second of a 10 Gbit/s network link, each way."""


class Costs(NamedTuple):
    """Measured costs, in seconds of CPU and bytes: for one frame that is answered with one, then of Redis for the same,
    of a group message for each member (in the interface server), for itself and for each process with members (in
    Redis), then memory of an idle WebSocket and of idle processes."""

    server: float
    worker: float
    redis: float
    bytes_in: float
    bytes_out: float
    delivery: float
    group: float
    group_process: float
    socket: float
    server_memory: float
    worker_memory: float


class Workload(NamedTuple):
    """Sockets and messages of all users.

    Attributes:
        title: what it is.
        sockets: open at the same time.
        frames: that each sends, a second.
        members: of the group to which the consumer of each frame sends one message; 0 for none, then it answers.
        broadcasts: messages a second that come from elsewhere, each to a group of ``broadcast_members``; as many
            as there are sockets means all of them, wherever they are connected.
        cpu, waiting: seconds that a consumer calculates, and waits for databases and the like.
    """

    title: str
    sockets: int
    frames: float
    members: int = 0
    broadcasts: float = 0.0
    broadcast_members: int = 0
    cpu: float = 0.001
    waiting: float = 0.005

    def part(self, installations: int) -> Workload:
        """The part of one of several installations, where each room and each user is in one of them."""
        sockets = math.ceil(self.sockets / installations)
        if self.broadcast_members == self.sockets:
            return self._replace(sockets=sockets, broadcast_members=sockets)
        return self._replace(sockets=sockets, broadcasts=self.broadcasts / installations)


class Deployment(NamedTuple):
    """Interface processes, workers (a core each, and what asks for so many of them) and Redis servers; busy cores of
    Redis, bytes a second on each one's link, the busier way, and memory of all interface processes."""

    interfaces: int
    interface_limit: str
    workers: int
    worker_limit: str
    shards: int
    redis_cores: float
    link: float
    memory: float


class TooMuchError(ValueError):
    """A workload that no number of processes carries; the text says which part of it."""


def deployment(costs: Costs, load: Workload) -> Deployment:
    """Calculate the needs of a workload.

    Raises:
        TooMuchError: more messages to groups than one process or one Redis can take.
    """
    frames = load.sockets * load.frames
    sends = [(frames, load.members)] if load.members else []
    sends += [(load.broadcasts, load.broadcast_members)] if load.broadcasts else []
    deliveries = sum(rate * members for rate, members in sends)

    def arrivals(interfaces: int) -> float:
        return sum(rate * reached(interfaces, members) for rate, members in sends)

    def interface_needs(interfaces: int) -> dict[str, float]:
        # A group message is unpacked once in each process: about half of what a frame and its answer cost.
        busy = (frames + arrivals(interfaces) / 2) * costs.server + deliveries * costs.delivery
        return {"connections": load.sockets / CONNECTIONS, "CPU": busy / FILLED}

    interfaces = _enough(
        interface_needs, load.sockets, "every interface process unpacks every message to a large group"
    )
    arriving = arrivals(interfaces)

    # A message to a group is one script on the home of the group, and one entry for each process with members.
    busy = frames * costs.redis + sum(rate for rate, _ in sends) * costs.group + arriving * costs.group_process
    carried = frames * max(costs.bytes_in, costs.bytes_out) + arriving * costs.bytes_out / 2
    redis_needs = {"CPU": busy / FILLED, "network": carried / LINK / FILLED}
    shards = max(1, math.ceil(max(redis_needs.values())))
    if load.broadcasts and load.broadcast_members == load.sockets:
        of_one = load.broadcasts * (costs.group + interfaces * costs.group_process)
        if of_one > FILLED:
            raise TooMuchError("one Redis is the home of the group of everybody")
    in_workers = costs.worker + load.cpu
    worker_needs = {
        "CPU": frames * in_workers / FILLED,
        "threads": frames * (in_workers + load.waiting) / THREADS / FILLED,
    }
    return Deployment(
        interfaces,
        _largest(interface_needs(interfaces)),
        max(1, math.ceil(max(worker_needs.values()))),
        _largest(worker_needs),
        shards,
        busy,
        carried / shards,
        interfaces * costs.server_memory + load.sockets * costs.socket,
    )


def split(costs: Costs, load: Workload) -> tuple[int, Deployment]:
    """Into how many installations, a power of two, a workload is split best, and what each of them needs.

    That is the number with which the least Redis servers are needed in all.
    """
    found: list[tuple[int, Deployment]] = []
    for installations in (2**power for power in range(MOST_HALVINGS + 1)):
        try:
            found.append((installations, deployment(costs, load.part(installations))))
        except TooMuchError:
            continue
    return min(found, key=lambda each: (each[0] * each[1].shards, each[0]))


def reached(processes: int, members: int) -> float:
    """Expected number of processes that have at least one of the members, who are spread at random."""
    return processes * (1.0 - (1.0 - 1.0 / processes) ** members)


def _enough(needs: Callable[[int], Mapping[str, float]], most: int, reason: str) -> int:
    """The least number of processes that meets the needs, which may grow with it."""
    count = 1
    while (wanted := math.ceil(max(needs(count).values()))) > count:
        count = wanted
        if count > most:
            raise TooMuchError(reason)
    return count


def _largest(needs: Mapping[str, float]) -> str:
    return max(needs, key=lambda name: needs[name])


def read(results: Mapping[str, Any]) -> Costs:
    """The costs in a file of ``make bench``, medians of its rounds; it holds all studies and the group of 2,000.

    Raises:
        KeyError: it lacks one of them.
    """
    traffic, idle, connections = (results["studies"][name]["data"] for name in ("traffic", "idle", "connections"))
    echoes = traffic["echoes"]["200"]
    by_processes = {int(count): median(costs) for count, costs in traffic["groups"].items()}
    few, many = min(by_processes), max(by_processes)
    each = (by_processes[many] - by_processes[few]) / (many - few)
    groups = results["samples"]["group of 2,000 members"]["millrace"]
    by_sockets = connections["bytes per socket"]["millrace"]
    return Costs(
        *(median(each[name] for each in echoes) for name in ("server", "worker", "redis", "bytes in", "bytes out")),
        delivery=median(sample["cpu"]["server"] / sample["count"] for sample in groups),
        group=max(0.0, by_processes[few] - few * each),
        group_process=each,
        socket=median(by_sockets[max(by_sockets, key=int)]),
        server_memory=idle["memory"]["server"],
        worker_memory=idle["memory"]["worker"],
    )


WORKLOADS = [
    Workload("100,000 users chat in rooms of 50, a message every 30 s each", 100_000, 1 / 30, members=50),
    Workload(
        "100,000 users watch, 10 messages a second go to all of them", 100_000, 1 / 300,
        broadcasts=10, broadcast_members=100_000,
    ),
    Workload("10 million users chat in rooms of 50, a message every 30 s each", 10_000_000, 1 / 30, members=50),
    Workload(
        "10 million users hold a socket; each is told something once a minute", 10_000_000, 1 / 300,
        broadcasts=10_000_000 / 60, broadcast_members=1,
    ),
    Workload(
        "10 million users watch, a message a second goes to all of them", 10_000_000, 1 / 300,
        broadcasts=1, broadcast_members=10_000_000,
    ),
]  # fmt: skip
"""The workloads of docs/scaling.md."""


def document(results: Mapping[str, Any], source: str) -> str:
    """Costs that the model uses and needs of each workload, as docs/scaling.md includes them, with their source."""
    costs = read(results)
    measured = [
        ["measured", "figure"],
        ["a frame and its answer, interface server", f"{costs.server * 1e6:.1f} µs"],
        ["the same, worker (without the consumer's own work)", f"{costs.worker * 1e6:.1f} µs"],
        ["the same, Redis", f"{costs.redis * 1e6:.1f} µs"],
        ["the same, bytes into and out of Redis", f"{costs.bytes_in:,.0f} and {costs.bytes_out:,.0f}"],
        ["a group message, for each member, interface server", f"{costs.delivery * 1e6:.1f} µs"],
        ["a group message, Redis", f"{costs.group * 1e6:.1f} µs"],
        ["the same, for each interface process with members", f"{costs.group_process * 1e6:.1f} µs"],
        ["an idle WebSocket", kibibytes(costs.socket)],
        [
            "an idle interface server, an idle worker",
            f"{mebibytes(costs.server_memory)}, {mebibytes(costs.worker_memory)}",
        ],
    ]
    heads = ["installations", "interface processes", "memory", "workers", "Redis servers", "busy cores", "network"]
    rows = [["workload", *heads]]
    for load in WORKLOADS:
        installations, needed = split(costs, load)
        gib = needed.memory / 2**30
        rows.append(
            [
                load.title,
                f"{installations:,}",
                f"{needed.interfaces:,} ({needed.interface_limit})",
                f"{gib:,.{0 if gib >= 10 else 1}f} GiB",
                f"{needed.workers:,} ({needed.worker_limit})",
                f"{needed.shards:,}",
                f"{needed.redis_cores:,.2f}",
                f"{needed.link / 1e6:,.1f} MB/s",
            ]
        )
    return f"From `{source}`:\n\n{markdown(measured)}\n\n{markdown(rows)}\n"


def main(arguments: list[str] | None = None) -> int:
    """Print, or write; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling", description="Calculate what deployments need."
    )
    parser.add_argument("results", type=Path, help="a .json file of make bench, with all its studies")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the tables there as well")
    options = parser.parse_args(arguments)
    try:
        text = document(json.loads(options.results.read_text(encoding="utf-8")), options.results.as_posix())
    except KeyError as missing:
        print(
            f"{options.results} lacks {missing}: make it with 'make bench', which measures everything", file=sys.stderr
        )
        return 1
    print(text, end="")
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
