"""A sampling profile of server and worker under load: ``python -m benchmarks.profile``.

py-spy reads the stacks from outside, so the processes run as they always do. Each table gives, of the samples in
which a thread held the interpreter's lock, the share a function was on top of the stack (self) or anywhere on it
(total). System calls that give up the lock are not in it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .crowd.sockets import allow_many_files
from .environments import MissingError, python_of, set_up
from .figures import markdown
from .peers import OURS, PEERS
from .stack import RoundError, Stack, StackError
from .works import WORKS, Work, loaded

SIZES = {"http": 16, "echo": 50, "group": 2_000}
"""The size of each load that is profiled."""

TOP = 30


def main(arguments: list[str] | None = None) -> int:
    """Profile and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description="Sample the stacks under load.")
    parser.add_argument("--only", default="http,echo,group", metavar="KINDS", help="some of %(default)s")
    parser.add_argument("--peer", default=OURS, choices=list(PEERS))
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--native", action="store_true", help="show functions of compiled extensions too")
    options = parser.parse_args(arguments)
    allow_many_files()
    try:
        set_up("tools")
        with Stack(PEERS[options.peer]) as stack:
            for kind in options.only.split(","):
                work = next(work for work in WORKS if (work.kind, work.sockets) == (kind, SIZES[kind]))
                for role, listing in profile(stack, work, options.seconds, native=options.native).items():
                    print(f"## {work.title}: {role}\n\n{listing}\n")
                stack.settle()
    except (MissingError, StackError, RoundError) as error:
        print(f"Stopped: {error}", file=sys.stderr)
        return 1
    return 0


def profile(stack: Stack, work: Work, seconds: float, *, native: bool = False) -> dict[str, str]:
    """Put a load on a peer and sample its Python processes meanwhile; returns role → table.

    Raises:
        RoundError: py-spy could not read a process.
    """
    # Without the lock as the criterion, threads that wait for one another look busy.
    spy = [str(python_of("tools").parent / "py-spy"), "record", "--native" if native else "--gil", "--format", "raw"]
    spy += ["--function", "--rate", "400", "--duration", str(round(seconds))]
    listings = {}
    with tempfile.TemporaryDirectory() as directory, loaded(stack, work, seconds + 3):
        samplers = {
            role: subprocess.Popen(
                [*spy, "--pid", str(process.pid), "--output", f"{directory}/{role}"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for role, process in stack.processes.items()
            if role != "redis"
        }
        for role, sampler in samplers.items():
            errors = sampler.communicate()[1].strip()
            output = Path(directory) / role
            if not output.exists():
                raise RoundError(f"py-spy could not sample the {role}; it may need root. It said: {errors[-300:]}")
            listings[role] = top_functions(output.read_text().splitlines())
    return listings


def top_functions(stacks: Iterable[str], limit: int = TOP) -> str:
    """A table from folded stacks (``outer;inner count``): the functions with the most samples of their own."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in stacks:
        folded, _, count = line.rpartition(" ")
        names = folded.split(";")
        own[names[-1]] += int(count)
        for name in set(names):
            total[name] += int(count)
    everything = sum(own.values())
    names = dict.fromkeys(name for counter in (own, total) for name, _ in counter.most_common(limit))
    rows = [[name, f"{own[name] / everything:.1%}", f"{total[name] / everything:.1%}"] for name in names]
    return f"{everything} samples\n\n{markdown([['function', 'self', 'total'], *rows])}"


if __name__ == "__main__":
    sys.exit(main())
