"""Tests of benchmarks.studies.redeploy."""

from __future__ import annotations

from benchmarks.studies.redeploy import _rows, hosted


def said(**more: float) -> dict[str, object]:
    figures = {"closed": 0, "lost": 0, "pause_p50": 0.1, "pause_p99": 0.2, "longest": 0.3}
    return {**figures, "used": {"server": 1.0}, "quiet": {"closed": 0, "lost": 0, "pause_p99": 0.4}, **more}


def test_closed_sockets_lost_frames_and_long_pauses_are_missed_targets() -> None:
    good = _rows("a worker is replaced", said(), most_lost=0, longest=2.0)
    assert [row[3] for row in good if row[3]] == ["reached"] * 3
    quiet = {"closed": 1, "lost": 1, "pause_p99": 0.4}
    bad = _rows("a worker is replaced", said(quiet=quiet, pause_p99=2.1), most_lost=0, longest=2.0)  # type: ignore[arg-type]
    assert [row[3] for row in bad if row[3]] == ["missed"] * 3


def test_the_server_has_room_for_all_sockets() -> None:
    command = hosted(5_000).processes["server"]
    assert int(command[command.index("--max-connections") + 1]) >= 5_000
