"""The picture of a run: ``python -m benchmarks.plot results/<date>-<name>.json [picture.svg]``.

matplotlib draws it, in an environment of its own: what calls `draw` need not have it. Text stays text, and colours
have names, with a value each for light and for dark surroundings.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

from .environments import HERE, MissingError, python_of, set_up
from .figures import median, rate_text, time_text
from .peers import HOSTED, OURS

_TITLES = {
    "http": ("HTTP, {} connection{}", "requests per second"),
    "echo": ("WebSocket echo, {} socket{}", "echoes per second"),
    "sync": ("Echo in threads, {} socket{}", "echoes per second"),
    "group": ("Group of {} socket{}", "deliveries per second"),
}
_LATENCY = "time until the answer, median: shorter is better"

COLOURS = {
    "ink": ("#1f2328", "#e6edf3"),
    "muted": ("#59636e", "#9198a1"),
    "ours": ("#0969da", "#4493f8"),
    "theirs": ("#b7bfc8", "#565e67"),
}
"""Name → colour in light and in dark surroundings; each light one is used for nothing else."""

COLUMNS, WIDTH = 2, 8.75
BAR, HEAD, GAP, FOOT, NAMES = 0.2, 0.38, 0.2, 0.34, 1.42
"""Inches: of a bar with its distance to the next, a panel's heading, between panels, the caption, left of the bars."""

_LENGTH = 0.8
"""The longest bar's share of the room; the figure behind it needs the rest."""

_FONTS = ["-apple-system", "Segoe UI", "Helvetica Neue", "Arial", "DejaVu Sans"]

Panel = tuple[str, str, list[tuple[str, str, float, str]]]
"""One work: its title, its unit, and of each peer the name, the title, the figure, and the figure as text."""


def panels(results: dict[str, Any]) -> list[Panel]:
    """Panels for a run's JSON: rates first, then latencies; peers in their order, without those that have no figure."""
    made: list[Panel] = []
    for work in sorted(results["works"], key=lambda work: bool(work["latency"])):
        text, which = (time_text, "p50") if work["latency"] else (rate_text, "rate")
        bars = []
        for name, title in results["peers"].items():
            samples = results["samples"].get(work["title"], {}).get(name)
            if samples:
                value = median([sample[which] for sample in samples]) or 0.0
                bars.append((name, title, value, text(value).removesuffix("/s")))
        if bars:
            title, unit = _TITLES[work["kind"]]
            title = title.format(f"{work['sockets']:,}", "" if work["sockets"] == 1 else "s")
            made.append((title, _LATENCY if work["latency"] else unit, bars))
    return made


def caption(results: dict[str, Any]) -> str:
    """One line on how it was measured, from the run's JSON."""
    machine = results["machine"]
    rounds = max((len(samples) for by_peer in results["samples"].values() for samples in by_peer.values()), default=0)
    facts = [f"Median of {rounds} rounds" if rounds > 1 else "One round", "payload 100 bytes"]
    return ", ".join(facts + [machine[name] for name in ("processor", "Python") if name in machine])


def colour(name: str) -> str:
    """The light colour, which stands for its name until `themed`."""
    return COLOURS[name][0]


def themed(svg: str) -> str:
    """The same picture with its colours by name, and a style that gives them for light and dark."""
    for name, (light, _) in COLOURS.items():
        svg = svg.replace(light, f"var(--{name})")
    light, dark = (";".join(f"--{name}:{pair[place]}" for name, pair in COLOURS.items()) for place in (0, 1))
    style = f"<style>svg{{{light}}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    start = svg.index(">", svg.index("<svg")) + 1
    return f"{svg[:start]}\n {style}{svg[start:]}"


def drawn(found: list[Panel], foot: str) -> str:
    """The picture: all panels in two columns, each as high as it has bars. Needs matplotlib."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it need not know all of the fonts
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "millrace", "font.size": 8.5, "font.family": _FONTS})
    rows = [found[start : start + COLUMNS] for start in range(0, len(found), COLUMNS)]
    heights = [HEAD + BAR * max(len(bars) for _, _, bars in row) for row in rows]
    top = height = sum(heights) + GAP * (len(rows) - 1) + FOOT
    made = Figure(figsize=(WIDTH, height))
    made.patch.set_visible(False)
    for row, room in zip(rows, heights, strict=True):
        for column, (title, unit, bars) in enumerate(row):
            left, deep = (column * WIDTH / COLUMNS + NAMES) / WIDTH, BAR * len(bars)
            axes = made.add_axes((left, (top - HEAD - deep) / height, 1 / COLUMNS - NAMES / WIDTH, deep / height))
            axes.set_axis_off()
            axes.set_xlim(0, max(value for _, _, value, _ in bars) / _LENGTH)
            axes.set_ylim(len(bars) - 0.5, -0.5)
            for place, (name, peer, value, label) in enumerate(bars):
                ours = name == OURS
                axes.barh(place, value, height=0.68, color=colour("ours" if name in (OURS, HOSTED) else "theirs"))
                style: dict[str, Any] = {"textcoords": "offset points", "va": "center"}
                style |= {"color": colour("ink" if ours else "muted"), "weight": "bold" if ours else "normal"}
                axes.annotate(peer, (0, place), xytext=(-6, 0), ha="right", **style)
                axes.annotate(label, (value, place), xytext=(4, 0), ha="left", **style)
            made.text(left, (top - 0.16) / height, title, size=9.5, weight="bold", color=colour("ink"))
            made.text(left, (top - 0.31) / height, unit, size=7.5, color=colour("muted"))
        top -= room + GAP
    made.text(NAMES / WIDTH, 0.08 / height, foot, size=7.5, color=colour("muted"))
    output = io.StringIO()
    made.savefig(output, format="svg", metadata={"Date": None, "Creator": None})
    return themed(output.getvalue())


def draw(results: Path, picture: Path | None = None) -> Path:
    """Draw a run beside its JSON, or where ``picture`` says; returns the path.

    Raises:
        MissingError: the drawing library cannot be installed, or could not draw.
    """
    picture = picture or results.with_suffix(".svg")
    set_up("tools")
    command = [str(python_of("tools")), "-m", "benchmarks.plot", str(results.resolve()), str(picture.resolve())]
    finished = subprocess.run([*command, "--here"], cwd=HERE.parent, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise MissingError(f"drawing failed: {' '.join(finished.stderr.strip().splitlines()[-1:])}")
    return picture


def main(arguments: list[str] | None = None) -> int:
    """Draw; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description="Draw the figures of a run.")
    parser.add_argument("results", type=Path, help="the .json that a run wrote")
    parser.add_argument("picture", type=Path, nargs="?", help="the .svg to write (default: beside it)")
    parser.add_argument("--here", action="store_true", help="by this interpreter, which has matplotlib")
    options = parser.parse_args(arguments)
    try:
        data = json.loads(options.results.read_text())
        found = panels(data)
        if not found:
            raise MissingError(f"{options.results} holds no figures of peers")
        if options.here:
            picture = options.picture or options.results.with_suffix(".svg")
            picture.write_text(drawn(found, caption(data)), encoding="utf-8")
        else:
            print(draw(options.results, options.picture))
    except (OSError, ValueError, KeyError, MissingError) as error:
        print(f"Cannot draw {options.results}: {error!r}" if isinstance(error, KeyError) else error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
