"""The live table."""

from __future__ import annotations

import io
import os
import sys
import threading

import pytest
from rich.console import Console

from channel_layer.reports import Report
from channels.operations.activity import Activity, Pace
from channels.operations.overview import Overview
from channels.operations.screen import MOST_PROBLEMS, Screen, at_most, duration, keys, picture, wait_for_q
from tests.channels.operations.test_health import WEB, WORKER


def drawn(found: Overview, activity: Activity | None) -> list[str]:
    console = Console(file=io.StringIO(), width=150, color_system=None)
    console.print(picture(found, activity, "redis://here"))
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_what_is_wrong_comes_first_then_paces_channels_consumers_and_processes() -> None:
    found = Overview(
        problems=["no web server reports", "\x1b[2Jtricky"],
        reports=[Report("daphne.a", {**WEB, "version": "1.0"}, 12.0), Report("worker.b", {**WORKER}, 0.0)],
        channels={
            "mail": {"messages_pending": 0},
            "late": {"messages_pending": 2, "messages_max_age": 3.0, "channel_full_count": 4},
        },
    )
    activity = Activity(messages=Pace(per_second=7, failed=1.5))
    activity.channels["mail"] = Pace(per_second=3, counts=[2.0] + [0.0] * 15, total=0.001)
    activity.consumers["app.slow"] = Pace(per_second=1, counts=[0.0] * 15 + [1.0], total=70)
    activity.consumers["app.fast"] = Pace(per_second=9, counts=[9.0] + [0.0] * 15, total=0.009)
    lines = drawn(found, activity)
    assert lines[0].endswith("0 web servers, 1 worker redis://here (q ends)")
    assert lines[1:3] == ["no web server reports", "\\x1b[2Jtricky"]
    assert "7 messages/s" in lines[3]
    assert "1.5 failed/s" in lines[3]
    assert lines[5:7] == ["late 2 3.0 s 0.0 4", "mail 0 3.0 0.5 ms ≤ 1.0 ms 0"]
    assert lines[8:10] == ["app.slow 1.0 70.0 s more 0.0", "app.fast 9.0 1.0 ms ≤ 1.0 ms 0.0"]
    assert lines[11].startswith("daphne.a here 1 1.0 lost 12 s")
    assert lines[12].startswith("worker.b here 1 ? running 0 of 0 threads")


def test_before_the_second_look_nothing_was_measured() -> None:
    assert "measuring" in drawn(Overview(), None)[1]


def test_of_a_layer_that_is_away_only_that_is_shown() -> None:
    lines = drawn(Overview(problems=["it is away"], away="it is away"), Activity())
    assert lines[1:] == ["it is away"]


def test_many_problems_leave_room_for_the_rest() -> None:
    lines = drawn(Overview(problems=[f"problem {n}" for n in range(MOST_PROBLEMS + 2)]), None)
    assert lines[MOST_PROBLEMS + 1] == "and 2 more problems"


def test_the_screen_is_given_back() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=30)
    with Screen(console) as screen:
        screen.draw(Overview(), None, "here")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.index("\x1b[?1049h") < text.index("measuring") < text.index("\x1b[?1049l")


def test_times_are_short() -> None:
    assert [duration(seconds) for seconds in (0.0042, 2.5, 180)] == ["4.2 ms", "2.5 s", "3.0 min"]
    assert [at_most(seconds) for seconds in (None, 0.005, float("inf"))] == ["", "≤ 5.0 ms", "more"]


def test_q_ends_the_wait_and_other_keys_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, keyboard = os.openpty()
    with open(keyboard) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with keys():
            os.write(terminal, b"x")
            assert not wait_for_q(0.2)
            presses = threading.Timer(0.05, os.write, (terminal, b"q"))
            presses.start()
            assert wait_for_q(60)  # no line has ended
            presses.join()
    os.close(terminal)


def test_without_a_keyboard_the_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("q"))
    with keys():
        assert not wait_for_q(0.05)
