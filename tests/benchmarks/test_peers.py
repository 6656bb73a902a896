"""Tests of benchmarks.peers."""

from __future__ import annotations

from benchmarks.environments import ENVIRONMENTS
from benchmarks.peers import OURS, PEERS, ours, over_postgres, uvicorn


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


def test_over_postgresql_stacks_that_run_at_the_same_time_share_no_messages() -> None:
    peers = over_postgres()
    assert len({peer.layer for peer in peers}) == len({peer.title for peer in peers}) == 3
    other = peers[-1]
    assert any(each.startswith("channels-postgres") for each in ENVIRONMENTS[other.environment].packages)
    assert other.preparation()[1:3] == ["migrate", "channels_postgres"]
    assert [peer.preparation() for peer in peers[:-1]] == [[], []]
