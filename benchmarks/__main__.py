"""The command: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import datetime
import signal
import sys
import traceback
from collections.abc import Callable

from . import plot
from .crowd.sockets import allow_many_files
from .environments import HERE, MissingError, program, set_up
from .peers import KINDS, OURS, PEERS, Peer
from .report import Results, Setting, cpu_table, figures_table, ratios_table, write
from .rounds import estimate, run
from .stack import RoundError, StackError
from .studies import STUDIES
from .works import WORKS, Work


def main(arguments: list[str] | None = None) -> int:
    """Set up, measure, report; returns the exit status."""
    options = _parser().parse_args(arguments)
    works = [work for work in WORKS if work.kind in options.only]
    studies = [name for name in STUDIES if name in options.only]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that the servers are stopped
    allow_many_files()
    setting = Setting(options.rounds, options.seconds, tell)
    try:
        wanted = [PEERS[name] for name in options.peers]
        peers, left_out = available([peer for peer in wanted if not set(peer.kinds).isdisjoint(options.only)])
        works = possible(works, left_out)
        seconds = estimate(peers, works, studies, setting)
        tell(f"This takes about {max(1, round(seconds / 60))} minutes.")
        results = run(peers, works if peers else [], setting)
        results.left_out = {**left_out, **results.left_out}
        for name in studies:
            conduct(name, results, setting)
    except (MissingError, StackError) as error:
        tell(f"Stopped: {error}")
        return 1
    except KeyboardInterrupt:
        tell("Stopped; nothing was written.")
        return 130
    tables = [figures_table, ratios_table, cpu_table] if results.works else []
    print(
        "", *(table(results) for table in tables), *(each.document() for each in results.sections.values()), sep="\n\n"
    )
    if options.name:
        path = write(results, HERE / "results", options.name, datetime.date.today().isoformat())
        print(f"\nWritten to {path.relative_to(HERE.parent)} and .json")
        try:
            if results.samples:
                print(f"Drawn in {plot.draw(path.with_suffix('.json')).relative_to(HERE.parent)}")
        except MissingError as error:
            tell(f"There is no picture: {error}")
    return 1 if results.failures else 0


def available(peers: list[Peer]) -> tuple[list[Peer], dict[str, str]]:
    """Install the peers; return those that are there, and the reasons of the others by name.

    Raises:
        MissingError: Millrace is not installed.
    """
    found, missing = [], {}
    for peer in peers:
        try:
            set_up(peer.environment)
        except MissingError as error:
            if peer.name == OURS:
                raise
            missing[peer.name] = str(error)
            tell(f"{peer.title} is left out: {error}")
        else:
            found.append(peer)
    return found, missing


def possible(works: list[Work], left_out: dict[str, str]) -> list[Work]:
    """Leave requests out, and say why, if wrk is missing."""
    try:
        if any(work.kind == "http" for work in works):
            program("wrk")
    except MissingError as error:
        tell(f"http is left out: {error}")
        left_out["http"] = str(error)
        return [work for work in works if work.kind != "http"]
    return works


def conduct(name: str, results: Results, setting: Setting) -> None:
    """Carry a study out and keep its section, or the reason why there is none."""
    try:
        results.sections[name] = STUDIES[name](setting)
    except MissingError as error:
        tell(f"{name} is left out: {error}")
        results.left_out[name] = str(error)
    except (RoundError, StackError) as error:
        tell(f"{name}: failed: {error}")
        results.fail(name, "study", str(error))
    except Exception as error:  # earlier figures must not be lost
        traceback.print_exc()
        results.fail(name, "study", f"{type(error).__name__}: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Millrace beside its peers.")
    everything = [*KINDS, *STUDIES]
    for name, choice, what in (("--only", everything, "works and studies"), ("--peers", list(PEERS), "peers")):
        some = f"some of the {what} {', '.join(choice)} (default: all)"
        parser.add_argument(name, default=",".join(choice), type=_some_of(choice), metavar="NAMES", help=some)
    for name, what in (("--rounds", "measured rounds after the warm-up"), ("--seconds", "whole seconds of a round")):
        parser.add_argument(name, type=_at_least_one, default=3, help=f"{what} (default: %(default)s)")
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


def tell(text: str) -> None:
    """Print a line about the progress to standard error."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
