"""Tests of benchmarks.peers."""

from __future__ import annotations

from benchmarks.peers import OURS, PEERS, ours, uvicorn


def test_ours_has_its_defaults_but_for_what_is_asked_for() -> None:
    usual = PEERS[OURS]
    assert ours() == usual
    assert ours().processes == usual.processes
    peer = ours(layer="sqlite", processes=4, connections=10_000)
    assert peer.layer == "sqlite"
    assert peer.processes["worker"][-2:] == ["--processes", "4"]
    assert peer.processes["server"][-2:] == ["--max-connections", "10200"]


def test_the_usual_stack_is_left_as_it_is() -> None:
    ours(processes=4)
    assert "--processes" not in PEERS[OURS].processes["worker"]


def test_uvicorn_serves_another_application_when_it_is_told_to() -> None:
    command = uvicorn("project.bare:application").processes["server"]
    assert "project.bare:application" in command
    assert "project.classes:application" not in command
