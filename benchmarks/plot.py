"""The picture of a run: ``python -m benchmarks.plot results/<date>-<name>.json [picture.svg]``.

What is drawn is chosen here; `drawing` draws it, by an interpreter of its own environment.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .environments import HERE, python_of, set_up
from .figures import median, rate_text, time_text
from .programs import MissingError

_TITLES = {"http": "HTTP, {} connection{}", "echo": "WebSocket echo, {} socket{}", "group": "Group of {} socket{}"}
_UNITS = {"http": "requests per second", "echo": "echoes per second", "group": "deliveries per second"}
_LATENCY = "time until the answer, median: shorter is better"


@dataclass(frozen=True)
class Bar:
    """One peer's figure.

    Attributes:
        peer: the peer's name.
        title: what it is called in the picture.
        value: the length, in units of the panel.
        label: the figure as text.
    """

    peer: str
    title: str
    value: float
    label: str


@dataclass(frozen=True)
class Panel:
    """The figures of one work, from the same zero on."""

    title: str
    unit: str
    bars: list[Bar]


def panels(results: dict[str, Any]) -> list[Panel]:
    """Panels for a run's JSON: rates first, then latencies; peers in their order, without those that have no figure."""
    works = sorted(results["works"], key=lambda work: bool(work["latency"]))
    made = [
        Panel(
            _TITLES[work["kind"]].format(f"{work['sockets']:,}", "" if work["sockets"] == 1 else "s"),
            _LATENCY if work["latency"] else _UNITS[work["kind"]],
            [
                _bar(name, title, samples, latency=work["latency"])
                for name, title in results["peers"].items()
                if (samples := results["samples"].get(work["title"], {}).get(name))
            ],
        )
        for work in works
    ]
    return [panel for panel in made if panel.bars]


def _bar(name: str, title: str, samples: list[dict[str, float]], *, latency: bool) -> Bar:
    value = median([sample["p50" if latency else "rate"] for sample in samples]) or 0.0
    return Bar(name, title, value, (time_text(value) if latency else rate_text(value)).removesuffix("/s"))


def caption(results: dict[str, Any]) -> str:
    """One line on how it was measured, from the run's JSON."""
    machine = results["machine"]
    rounds = max((len(samples) for by_peer in results["samples"].values() for samples in by_peer.values()), default=0)
    facts = [f"Median of {rounds} rounds" if rounds > 1 else "One round", "payload 100 bytes"]
    facts += [machine[name] for name in ("processor", "Python") if name in machine]
    return ", ".join(facts)


def draw(results: Path, picture: Path | None = None) -> Path:
    """Draw a run beside its JSON, or where ``picture`` says; returns the path.

    Raises:
        MissingError: the drawing library cannot be installed, or could not draw.
    """
    picture = picture or results.with_suffix(".svg")
    set_up("tools")
    command = [str(python_of("tools")), "-m", "benchmarks.drawing", str(results.resolve()), str(picture.resolve())]
    finished = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise MissingError(f"drawing failed: {' '.join(finished.stderr.strip().splitlines()[-1:])}")
    return picture


def main(arguments: list[str] | None = None) -> int:
    """Draw; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description="Draw the figures of a run.")
    parser.add_argument("results", type=Path, help="the .json that a run wrote")
    parser.add_argument("picture", type=Path, nargs="?", help="the .svg to write (default: beside it)")
    options = parser.parse_args(arguments)
    try:
        found = panels(json.loads(options.results.read_text()))
        if not found:
            raise MissingError(f"{options.results} holds no figures of peers")
        print(draw(options.results, options.picture))
    except (OSError, ValueError, KeyError, MissingError) as error:
        print(f"Cannot draw {options.results}: {error!r}" if isinstance(error, KeyError) else error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
