"""A sampling profile of server and worker under load: ``python -m benchmarks.profile``.

py-spy reads the stacks from outside, so the processes run as they always do. Each listing gives, of the samples in
which a thread held the interpreter's lock, the share a function was on top of the stack (self) or anywhere on it
(total). System calls that give up the lock are not in it; how much of the CPU time they take, `system` says.
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .__main__ import tell
from .cpu import times
from .crowd.sockets import allow_many_files
from .environments import HERE, python_of, set_up
from .figures import markdown
from .peers import OURS, PEERS
from .programs import MissingError
from .stack import RoundError, Stack, StackError
from .works import WORKS, Work, loaded

SIZES = {"http": 16, "echo": 50, "group": 2_000}
"""The size of each load that is profiled by default."""

TOP = 30


def main(arguments: list[str] | None = None) -> int:
    """Profile, print, write; returns the exit status."""
    options = _parser().parse_args(arguments)
    allow_many_files()
    peer = PEERS[options.peer]
    parts = [f"# Profile of {peer.title}, {datetime.date.today().isoformat()}"]
    try:
        set_up("tools")
        set_up(peer.environment)
        with Stack(peer) as stack:
            for kind in options.only.split(","):
                work = next(work for work in WORKS if (work.kind, work.sockets) == (kind, SIZES[kind]))
                for role, listing in profile(stack, work, options.seconds, native=options.native).items():
                    parts += [f"## {work.title}: {role}", listing]
                stack.settle()
    except (MissingError, StackError, RoundError) as error:
        tell(f"Stopped: {error}")
        return 1
    text = "\n\n".join(parts) + "\n"
    print(text)
    if options.name:
        path = HERE / "results" / f"{datetime.date.today().isoformat()}-{options.name}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description="Sample the stacks under load.")
    parser.add_argument("--only", default="http,echo,group", metavar="KINDS", help="some of %(default)s")
    parser.add_argument("--peer", default=OURS, choices=list(PEERS))
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--native", action="store_true", help="show functions of compiled extensions too")
    parser.add_argument("--name", default="profile", help="of the file in results/; empty writes none")
    return parser


def profile(stack: Stack, work: Work, seconds: float, *, native: bool = False) -> dict[str, str]:
    """Put a load on a peer and sample its Python processes meanwhile; returns role → listing.

    Raises:
        RoundError: py-spy could not read a process.
    """
    with tempfile.TemporaryDirectory() as directory, loaded(stack, work, seconds + 3):
        samplers = {}
        for role, process in stack.processes.items():
            if role != "redis":
                output = Path(directory) / role
                samplers[role] = output, _sample(process.pid, output, seconds, native=native)
        before = {role: times(stack.processes[role].pid) for role in samplers}
        listings = {role: _listing(role, output, sampler) for role, (output, sampler) in samplers.items()}
        for role in listings:
            after = times(stack.processes[role].pid)
            user, system = (now - then for now, then in zip(after, before[role], strict=True))
            share = system / ((user + system) or 1)
            listings[role] = f"{share:.0%} of the CPU time in the system, {listings[role]}"
        return listings


def _sample(pid: int, output: Path, seconds: float, *, native: bool) -> subprocess.Popen[str]:
    command = [str(python_of("tools").parent / "py-spy"), "record", "--pid", str(pid), "--output", str(output)]
    command += ["--format", "raw", "--function", "--rate", "400", "--duration", str(round(seconds))]
    # Without the lock as the criterion, threads that wait for one another look busy.
    command += ["--native"] if native else ["--gil"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _listing(role: str, output: Path, sampler: subprocess.Popen[str]) -> str:
    _, errors = sampler.communicate()
    if not output.exists():
        raise RoundError(f"py-spy could not sample the {role}; it may need root. It said: {errors.strip()[-300:]}")
    return top_functions(output.read_text().splitlines())


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
    rows = [["function", "self", "total"]]
    chosen_names = [name for name, _ in own.most_common(limit)]
    chosen_names += [name for name, _ in total.most_common(limit) if name not in chosen_names]
    rows += [[name, f"{own[name] / everything:.1%}", f"{total[name] / everything:.1%}"] for name in chosen_names]
    return f"{everything} samples\n\n{markdown(rows)}"


if __name__ == "__main__":
    sys.exit(main())
