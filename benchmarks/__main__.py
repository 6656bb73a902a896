"""The command: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import datetime
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from .environments import HERE, MissingError, set_up, wrk
from .machine import describe
from .peers import DEFAULT, OURS, PEERS, Peer
from .report import Results, cpu_table, figure_text, figures_table, write
from .sockets import allow_many_files
from .stack import Stack, StackError
from .works import WORKS, RoundError, Work, measure

WARM_UP_SECONDS = 1.5


def main(arguments: list[str] | None = None) -> int:
    """Set up, measure, report; returns the exit status."""
    options = _parser().parse_args(arguments)
    peers = [replace(chosen(name, options.layer), middleware=not options.bare) for name in options.peers]
    works = [work for work in WORKS if work.kind in options.only]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that the servers are stopped
    allow_many_files()
    if wrk() is None and any(work.kind == "http" for work in works):
        tell("wrk is missing ('sudo apt-get install wrk'): requests are made by benchmarks.client.")
    try:
        for environment in dict.fromkeys(peer.environment for peer in peers):
            set_up(environment)
        results = run(peers, works, options.rounds, options.seconds)
    except (MissingError, StackError) as error:
        tell(f"Stopped: {error}")
        return 1
    except KeyboardInterrupt:
        tell("Stopped; nothing was written.")
        return 130
    print(f"\n{figures_table(results)}\n\n{cpu_table(results)}\n")
    if options.name:
        path = write(results, HERE / "results", options.name, datetime.date.today().isoformat())
        print(f"Written to {path.relative_to(HERE.parent)} and .json")
    return 1 if results.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Millrace beside its peers.")
    parser.add_argument("--only", default="http,echo,group", type=_some_of(["http", "echo", "group"]), metavar="KINDS")
    parser.add_argument(
        "--peers",
        default=",".join(DEFAULT),
        type=_some_of(list(PEERS)),
        metavar="NAMES",
        help=f"some of {', '.join(PEERS)} (default: %(default)s)",
    )
    parser.add_argument("--layer", choices=["redis", "sqlite"], default="redis", help="Millrace's channel layer")
    parser.add_argument("--bare", action="store_true", help="no Django middleware, on either side")
    parser.add_argument(
        "--rounds", type=_at_least_one, default=3, help="measured rounds after the warm-up (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=_at_least_one, default=3, help="length of a round, whole seconds (default: %(default)s)"
    )
    parser.add_argument("--name", default="run", help="of the files in results/; empty writes none")
    return parser


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 on, not {text!r}")
    return int(text)


def _some_of(allowed: list[str]) -> Callable[[str], list[str]]:
    def check(text: str) -> list[str]:
        chosen_names = list(dict.fromkeys(text.split(",")))
        unknown = [name for name in chosen_names if name not in allowed]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; choose among {', '.join(allowed)}")
        return chosen_names

    return check


def chosen(name: str, layer: str) -> Peer:
    """A peer; ours with the channel layer that was asked for."""
    peer = PEERS[name]
    if name != OURS or layer == peer.layer:
        return peer
    return replace(peer, title=f"{peer.title} ({layer})", layer=layer)


def run(peers: list[Peer], works: list[Work], rounds: int, seconds: float) -> Results:
    """Start all peers and measure them in turns: A B C, A B C, … after one warm-up round each.

    Raises:
        StackError: a peer did not start or ended by itself.
    """
    environments = list(dict.fromkeys(peer.environment for peer in peers))
    results = Results(describe(environments), seconds, works, peers)
    with ExitStack() as running:
        stacks = [running.enter_context(Stack(peer)) for peer in peers]
        for work in works:
            for number in range(rounds + 1):
                for stack in stacks:
                    _round(results, stack, work, number, seconds)
    return results


def _round(results: Results, stack: Stack, work: Work, number: int, seconds: float) -> None:
    if results.failures.get(work.title, {}).get(stack.peer.name):
        return  # once is enough: a peer that cannot do it would stall every round
    try:
        sample = measure(stack, work, seconds if number else min(seconds, WARM_UP_SECONDS))
    except RoundError as error:
        reason = f"{error}; its server said: {stack.said('server', 1)}"
        tell(f"{work.title}, {stack.peer.title}: failed: {reason}")
        results.fail(work, stack.peer, reason)
    else:
        value = figure_text(work, sample.p50 if work.latency else sample.rate)
        tell(f"{work.title}, {stack.peer.title}, {f'round {number}' if number else 'warm-up'}: {value}")
        if number:
            results.add(work, stack.peer, sample)
    stack.settle()


def tell(text: str) -> None:
    """Say what is going on, beside the tables."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
