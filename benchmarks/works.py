"""The works that are measured: loads with their sizes, and one round of each."""

from __future__ import annotations

import re
import resource
import subprocess
import time
from dataclasses import dataclass, field

from .clients import Client
from .environments import program
from .figures import time_text
from .machine import machine_seconds
from .peers import HOSTED, OURS, PEERS
from .stack import RoundError, Stack

_MACHINE = "machine"

_ROUND_MARGIN = 90.0
"""Seconds beyond its measured time after which wrk counts as hung."""


@dataclass(frozen=True)
class Target:
    """A figure to reach, of Millrace or what it hosts: ``least`` times that of a peer, or at most so many seconds."""

    peer: str = ""
    least: float = 0.0
    seconds: float = 0.0
    of: str = OURS

    def reached(self, figure: float | None, ratios: dict[str, float | None]) -> bool | None:
        """Tell by a figure, and by its ratios to those of the peers; ``None`` if what decides is missing."""
        if self.seconds:
            return None if figure is None else figure <= self.seconds
        ratio = ratios.get(self.peer)
        return None if ratio is None else ratio >= self.least

    def text(self) -> str:
        """The condition as it stands in the table."""
        whose = "" if self.of == OURS else f"{self.of} "
        return whose + (
            f"≤ {time_text(self.seconds)}" if self.seconds else f"≥ {self.least:g} × {PEERS[self.peer].title}"
        )


def within(seconds: float) -> tuple[Target, ...]:
    """A target in seconds."""
    return (Target(seconds=seconds),)


def hosted(least: float) -> Target:
    """A target of the application for Channels 4 that Millrace hosts, against the same one under uvicorn."""
    return Target("channels4-uvicorn", least, of=HOSTED)


def times(**least: float) -> tuple[Target, ...]:
    """Targets in ratios to peers, whose names are written with ``_`` for ``-``."""
    return tuple(Target(name.replace("_", "-"), ratio) for name, ratio in least.items())


@dataclass(frozen=True)
class Work:
    """One line of the table.

    Attributes:
        kind: ``http``, ``echo``, ``sync`` (an echo by a consumer that runs in a thread) or ``group``.
        sockets: connections that take part.
        latency: the figure is the median latency instead of the rate.
        targets: what Millrace is to reach, with its defaults.
    """

    kind: str
    sockets: int
    latency: bool = False
    targets: tuple[Target, ...] = ()

    @property
    def title(self) -> str:
        """Its name in the tables."""
        noun = {"http": "connection", "group": "member"}.get(self.kind, "socket")
        kind = {"http": "HTTP", "echo": "echo", "sync": "echo in threads", "group": "group of"}[self.kind]
        size = f"{self.sockets:,} {noun}{'' if self.sockets == 1 else 's'}"
        return f"{kind} {size}" + (", p50" if self.latency else "")


WORKS = [
    Work("http", 1, latency=True, targets=within(0.000_45)),
    Work("http", 16, targets=times(channels1=25, channels4_uvicorn=6)),
    Work("http", 64, targets=times(channels1=40, channels4_uvicorn=10)),
    Work("echo", 1, latency=True, targets=(*within(0.000_25), *times(channels4_uvicorn=0.5), hosted(0.4))),
    Work("echo", 50, targets=(*times(channels1=50, channels4_uvicorn=1.2), hosted(1.2))),
    Work("echo", 200, targets=(*times(channels1=70, channels4_uvicorn=1.8), hosted(1.2))),
    Work("sync", 50, targets=(hosted(3),)),
    Work("group", 500, targets=(*times(channels4_uvicorn=10), hosted(8))),
    Work("group", 2_000, targets=(*times(channels1=200, channels4_uvicorn=20, nchan=0.8), hosted(8))),
]


@dataclass
class Sample:
    """One round of one peer.

    Attributes:
        rate: operations per second.
        p50, p99: latencies in seconds.
        seconds: how long was measured.
        cpu: role → CPU seconds in that time; ``client`` is the load's, ``others`` what else ran on the machine.
        count: operations.
    """

    rate: float
    p50: float
    p99: float
    seconds: float
    count: int
    cpu: dict[str, float] = field(default_factory=dict)


def measure(stack: Stack, work: Work, seconds: float) -> Sample:
    """Run one round.

    Raises:
        RoundError: an answer was wrong or missing.
        StackError: a server ended.
        MissingError: wrk is not installed.
    """
    stack.check()
    sample = (_with_wrk if work.kind == "http" else _with_client)(stack, work, seconds)
    stack.check()
    sample.cpu["others"] = max(0.0, sample.cpu.pop(_MACHINE) - sum(sample.cpu.values()))
    return sample


def _client(stack: Stack, work: Work, seconds: float) -> Client:
    load = "echo" if work.kind == "sync" else work.kind
    return Client(stack, load, path=f"/{work.kind}/", sockets=work.sockets, seconds=seconds)


def _with_client(stack: Stack, work: Work, seconds: float) -> Sample:
    with _client(stack, work, seconds) as client:
        before = _clocks(stack)
        said = client.run()
        cpu = _used(stack, before)
    cpu["client"] = said["cpu"]
    count, measured = int(said["count"]), said["seconds"]
    return Sample(count / measured, said["p50"], said["p99"], measured, count, cpu)


def _wrk_command(stack: Stack, work: Work, seconds: float) -> list[str]:
    options = ["-t1", f"-c{work.sockets}", f"-d{max(1, round(seconds))}s", "--latency"]
    return [program("wrk"), *options, f"http://127.0.0.1:{stack.port}/"]


def _with_wrk(stack: Stack, work: Work, seconds: float) -> Sample:
    command = _wrk_command(stack, work, seconds)
    before, began = _clocks(stack), time.perf_counter()
    own = _children_cpu()
    try:
        finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + _ROUND_MARGIN)
    except subprocess.TimeoutExpired as error:
        raise stack.failure(f"wrk did not end in {error.timeout:.0f} s") from error
    cpu = _used(stack, before)
    cpu["client"] = _children_cpu() - own
    if finished.returncode:
        raise stack.failure(f"wrk failed: {finished.stderr.strip() or finished.stdout.strip()}")
    return read_wrk(finished.stdout, time.perf_counter() - began, cpu)


def read_wrk(output: str, seconds: float, cpu: dict[str, float]) -> Sample:
    """A sample from what wrk prints; raises `RoundError` if it counts errors."""
    problems = re.findall(r"^\s*(?:Non-2xx or 3xx responses|Socket errors): .*$", output, re.MULTILINE)
    if problems:
        raise RoundError("wrk: " + "; ".join(problem.strip() for problem in problems))
    rate = re.search(r"^Requests/sec:\s*([\d.]+)", output, re.MULTILINE)
    count = re.search(r"^\s*(\d+) requests in ", output, re.MULTILINE)
    marks = {share: _wrk_seconds(value) for share, value in re.findall(r"^\s+(50|99)%\s+([\d.]+[a-z]+)", output, re.M)}
    if not rate or not count or set(marks) != {"50", "99"}:
        raise RoundError(f"wrk printed something unknown: {output[:300]!r}")
    return Sample(float(rate[1]), marks["50"], marks["99"], seconds, int(count[1]), cpu)


def _wrk_seconds(text: str) -> float:
    units = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    return float(number) * units[text[len(number) :]]


def _clocks(stack: Stack) -> dict[str, float]:
    return {**stack.cpu(), _MACHINE: machine_seconds()}


def _used(stack: Stack, before: dict[str, float]) -> dict[str, float]:
    return {role: used - before[role] for role, used in _clocks(stack).items()}


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
