"""Tests of benchmarks.studies.takeover."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.peers import Peer
from benchmarks.report import Setting
from benchmarks.studies import takeover

GOOD: dict[str, Any] = {
    "seconds": 1.0, "closed": 0, "lost": 0, "pause_p50": 0.1, "longest": 0.5, "quiet": {"closed": 0, "lost": 0},
}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "missed"),
    [
        ({}, 0),
        ({"seconds": 6.0, "longest": 6.0}, 2),
        ({"closed": 1}, 1),
        ({"quiet": {"closed": 1, "lost": 1}}, 2),
    ],
)
def test_closed_sockets_lost_frames_and_long_pauses_are_missed_targets(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], missed: int
) -> None:
    def taken_over(peer: Peer) -> dict[str, Any]:
        command = peer.processes["server"]
        assert int(command[command.index("--max-connections") + 1]) >= takeover.QUIET + takeover.ACTIVE
        return {**GOOD, **more}

    monkeypatch.setattr(takeover, "_taken_over", taken_over)
    section = takeover.study(Setting(1, 1.0, lambda text: None))
    said = [row[3] for row in section.table[1:] if row[3]]
    assert said.count("missed") == 2 * missed  # for both peers
    assert len(said) == 8
