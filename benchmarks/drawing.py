"""Draws a run with matplotlib; run by `plot` in the environment that has it.

Text stays text, and colours have names, see `theme`.
"""

from __future__ import annotations

import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .peers import OURS
from .plot import Panel, caption, panels
from .theme import colour, themed

COLUMNS = 2
WIDTH = 8.75
BAR, HEAD, GAP, FOOT = 0.2, 0.38, 0.2, 0.34
"""Inches: of a bar with its distance to the next, of a panel's heading, between panels, of the caption."""

NAMES = 1.42
"""Inches left of the bars."""

_LENGTH = 0.8
"""The longest bar's share of the room; the figure behind it needs the rest."""

_FONTS = ["-apple-system", "Segoe UI", "Helvetica Neue", "Arial", "DejaVu Sans"]


def figure(found: list[Panel], foot: str) -> Figure:
    """All panels in two columns, each as high as it has bars."""
    rows = [found[start : start + COLUMNS] for start in range(0, len(found), COLUMNS)]
    heights = [HEAD + BAR * max(len(panel.bars) for panel in row) for row in rows]
    height = sum(heights) + GAP * (len(rows) - 1) + FOOT
    made = Figure(figsize=(WIDTH, height))
    made.patch.set_visible(False)
    top = height
    for row, room in zip(rows, heights, strict=True):
        for column, panel in enumerate(row):
            bars = BAR * len(panel.bars)
            left = (column * WIDTH / COLUMNS + NAMES) / WIDTH
            box = (left, (top - HEAD - bars) / height, 1 / COLUMNS - NAMES / WIDTH, bars / height)
            _panel(made.add_axes(box), panel)
            made.text(left, (top - 0.16) / height, panel.title, size=9.5, weight="bold", color=colour("ink"))
            made.text(left, (top - 0.31) / height, panel.unit, size=7.5, color=colour("muted"))
        top -= room + GAP
    made.text(NAMES / WIDTH, 0.08 / height, foot, size=7.5, color=colour("muted"))
    return made


def _panel(axes: Axes, panel: Panel) -> None:
    longest = max(bar.value for bar in panel.bars)
    axes.set_axis_off()
    axes.set_xlim(0, longest / _LENGTH)
    axes.set_ylim(len(panel.bars) - 0.5, -0.5)
    for place, bar in enumerate(panel.bars):
        ours = bar.peer == OURS
        weight = "bold" if ours else "normal"
        ink = colour("ink" if ours else "muted")
        axes.barh(place, bar.value, height=0.68, color=colour("ours" if ours else "theirs"))
        space: dict[str, Any] = {"textcoords": "offset points", "va": "center", "color": ink, "weight": weight}
        axes.annotate(bar.title, (0, place), xytext=(-6, 0), ha="right", **space)
        axes.annotate(bar.label, (bar.value, place), xytext=(4, 0), ha="left", **space)


def main(results: Path, picture: Path) -> None:
    """Write the picture of a run."""
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it need not know all of the fonts
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "millrace", "font.size": 8.5, "font.family": _FONTS})
    data = json.loads(results.read_text())
    output = io.StringIO()
    figure(panels(data), caption(data)).savefig(output, format="svg", metadata={"Date": None, "Creator": None})
    picture.write_text(themed(output.getvalue()), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
