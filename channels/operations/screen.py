"""The live table of ``manage.py millrace top``, drawn by rich. Needs the extra ``terminal``."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from channel_layer.facts import number, verdict
from channel_layer.reports import Report

from .activity import Activity, Pace
from .overview import Overview
from .status import process_row
from .tables import plural, printable

MOST_CONSUMERS: Final = 8
MOST_PROBLEMS: Final = 5

STATES: Final = {"running": "green", "draining": "yellow", "ended": "dim", "lost": "bold red"}


class Screen:
    """The whole terminal while the block runs.

    Args:
        console: where to draw.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._live = Live(console=console or Console(), screen=True, auto_refresh=False)

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def draw(self, found: Overview, activity: Activity | None, layer: str) -> None:
        """Replace what is shown."""
        self._live.update(picture(found, activity, layer), refresh=True)


def picture(found: Overview, activity: Activity | None, layer: str) -> Group:
    """All that there is to see; without an activity nothing was measured yet."""
    clock = time.strftime("%H:%M:%S")
    parts: list[RenderableType] = [Text(f"{clock}  {found.summary()}  {layer}  (q ends)", style="bold")]
    for problem in found.problems[:MOST_PROBLEMS]:
        parts.append(Text(printable(problem), style="bold red"))
    if len(found.problems) > MOST_PROBLEMS:
        parts.append(Text(f"and {plural(len(found.problems) - MOST_PROBLEMS, 'more problem')}", style="bold red"))
    if not found.away:
        parts += [_paces(activity), _channels(found, activity), _consumers(activity), _processes(found.reports)]
    return Group(*parts)


def _paces(activity: Activity | None) -> Text:
    if activity is None:
        return Text("measuring: processes report every two seconds", style="dim")
    parts = [
        f"{activity.requests.per_second:.0f} requests/s",
        f"{activity.turns.per_second:.0f} turns/s{_times(activity.turns)}",
        f"{activity.messages.per_second:.0f} messages/s",
        f"{activity.deliveries.per_second:.0f} deliveries/s",
    ]
    text = Text("  ".join(parts))
    if activity.messages.failed:
        text.append(f"  {activity.messages.failed:.1f} failed/s", style="red")
    return text


def _times(pace: Pace) -> str:
    return "" if pace.mean is None else f" (mean {duration(pace.mean)}, 95 % {at_most(pace.most)})"


def _channels(found: Overview, activity: Activity | None) -> Table:
    table = _table(("channel", "waiting", "oldest", "taken/s", "mean wait", "95 % of waits", "refused"))
    waiting = sorted(found.channels, key=lambda name: (-number(found.channels[name], "messages_max_age"), name))
    for name in waiting:
        counts = found.channels[name]
        pending, refused = number(counts, "messages_pending"), number(counts, "channel_full_count")
        pace = activity.channels.get(name, Pace()) if activity else Pace()
        table.add_row(
            Text(printable(name), style="yellow" if pending else ""),
            f"{pending:.0f}",
            duration(number(counts, "messages_max_age")) if pending else "",
            f"{pace.per_second:.1f}",
            "" if pace.mean is None else duration(pace.mean),
            at_most(pace.most),
            Text(f"{refused:.0f}", style="red" if refused else ""),
        )
    return table


def _consumers(activity: Activity | None) -> Table:
    table = _table(("slowest consumers", "runs/s", "mean", "95 %", "failed/s"))
    for name, pace in (activity.slowest() if activity else [])[:MOST_CONSUMERS]:
        table.add_row(
            Text(printable(name)),
            f"{pace.per_second:.1f}",
            "" if pace.mean is None else duration(pace.mean),
            at_most(pace.most),
            Text(f"{pace.failed:.1f}", style="red" if pace.failed else ""),
        )
    return table


def _processes(reports: Sequence[Report]) -> Table:
    table = _table(("process", "host", "pid", "version", "state", "since", "at work"))
    for report in reports:
        row = [Text(printable(text)) for text in process_row(report)]
        row[4].stylize(STATES[verdict(report)])
        table.add_row(*row)
    return table


def _table(head: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for position, title in enumerate(head):
        table.add_column(title, no_wrap=position == 0, overflow="ellipsis")
    return table


def duration(seconds: float) -> str:
    """A time in a table.

    >>> duration(0.0042), duration(2.5), duration(180)
    ('4.2 ms', '2.5 s', '3.0 min')
    """
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def at_most(seconds: float | None) -> str:
    """The upper end of a range of times in a table."""
    if seconds is None:
        return ""
    return "more" if seconds == float("inf") else f"≤ {duration(seconds)}"


@contextlib.contextmanager
def keys() -> Iterator[None]:
    """Take keys as they are pressed while the block runs, where standard input is a terminal."""
    try:
        import termios
        import tty

        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (ImportError, OSError, ValueError, termios.error):  # no such system, or no terminal
        yield
        return
    try:
        tty.setcbreak(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def wait_for_q(seconds: float) -> bool:
    """Wait; returns at once, and true, if the key q is pressed."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if not sys.stdin.isatty():
            time.sleep(left)
        elif select.select([sys.stdin], [], [], left)[0]:
            pressed = os.read(sys.stdin.fileno(), 64)
            if not pressed or b"q" in pressed.lower():
                return True
    return False
