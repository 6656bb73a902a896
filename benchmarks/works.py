"""What is measured: the loads with their sizes, and one round of each."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .cpu import machine_seconds
from .environments import HERE
from .programs import wrk
from .stack import Stack
from .targets import Target, times, within

BODY = "Hello, world.\n"

_MACHINE = "machine"

_ROUND_MARGIN = 90.0
"""Seconds beyond its measured time after which a client is taken for hung; opening 2,000 sockets is in it."""


class RoundError(Exception):
    """A round that could not be carried through; the text says what went wrong."""


@dataclass(frozen=True)
class Work:
    """One line of the table.

    Attributes:
        kind: ``http``, ``echo`` or ``group``.
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
        """How the table calls it."""
        noun = {"http": "connection", "echo": "socket", "group": "member"}[self.kind]
        kind = {"http": "HTTP", "echo": "echo", "group": "group of"}[self.kind]
        size = f"{self.sockets:,} {noun}{'' if self.sockets == 1 else 's'}"
        return f"{kind} {size}" + (", p50" if self.latency else "")


WORKS = [
    Work("http", 1, latency=True, targets=within(0.000_45)),
    Work("http", 16, targets=times(channels1=25, channels4_uvicorn=6)),
    Work("http", 64, targets=times(channels1=40, channels4_uvicorn=10)),
    Work("echo", 1, latency=True, targets=within(0.000_25)),
    Work("echo", 50, targets=times(channels1=50, channels4_uvicorn=1.2)),
    Work("echo", 200, targets=times(channels1=70, channels4_uvicorn=1.8)),
    Work("group", 500, targets=times(channels4_uvicorn=10)),
    Work("group", 2_000, targets=times(channels1=200, channels4_uvicorn=20, nchan=0.6)),
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
    """
    stack.check()
    program = wrk() if work.kind == "http" else None
    sample = _with_wrk(stack, program, work, seconds) if program else _with_client(stack, work, seconds)
    stack.check()
    sample.cpu["others"] = max(0.0, sample.cpu.pop(_MACHINE) - sum(sample.cpu.values()))
    return sample


@contextmanager
def loaded(stack: Stack, work: Work, seconds: float) -> Iterator[None]:
    """Keep a load on a peer while the block runs; its figures are of no interest."""
    with _client(stack, work, seconds) as (process, start):
        start()
        yield
        process.wait(seconds + _ROUND_MARGIN)


def _with_client(stack: Stack, work: Work, seconds: float) -> Sample:
    with _client(stack, work, seconds) as (process, start):
        before = _clocks(stack)
        start()
        said = _line(process)
        cpu = _used(stack, before)
    if "error" in said:
        raise RoundError(str(said["error"]))
    cpu["client"] = said["cpu"]
    count, measured = int(said["count"]), said["seconds"]
    return Sample(count / measured, said["p50"], said["p99"], measured, count, cpu)


@contextmanager
def _client(stack: Stack, work: Work, seconds: float) -> Iterator[tuple[subprocess.Popen[str], Callable[[], None]]]:
    """A client with its sockets open, and what makes it begin; it is gone when the block ends."""
    command = [sys.executable, "-m", "benchmarks.client", work.kind, "--port", str(stack.port)]
    command += ["--sockets", str(work.sockets), "--seconds", str(seconds), "--body", BODY]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=HERE.parent, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            first = process.stdout.readline().strip()
            if first != "ready":
                raise RoundError(str(json.loads(first)["error"]) if first else "the client ended before it was ready")
            go = process.stdin

            def start() -> None:
                go.write("go\n")
                go.flush()

            yield process, start
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> dict[str, float]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RoundError("the client ended without a result")
    return dict(json.loads(line))


def _with_wrk(stack: Stack, program: str, work: Work, seconds: float) -> Sample:
    command = [program, "-t1", f"-c{work.sockets}", f"-d{max(1, round(seconds))}s", "--latency"]
    before, began = _clocks(stack), time.perf_counter()
    own = _children_cpu()
    command.append(f"http://127.0.0.1:{stack.port}/")
    try:
        finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + _ROUND_MARGIN)
    except subprocess.TimeoutExpired as error:
        raise RoundError(f"wrk did not end in {error.timeout:.0f} s") from error
    cpu = _used(stack, before)
    cpu["client"] = _children_cpu() - own
    if finished.returncode:
        raise RoundError(f"wrk failed: {finished.stderr.strip() or finished.stdout.strip()}")
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
