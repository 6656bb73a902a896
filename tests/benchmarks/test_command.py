"""Tests of the command ``python -m benchmarks``."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks.peers import PEERS, Peer
from benchmarks.report import Results
from benchmarks.works import RoundError, Sample, Work


class Quiet:
    """A stack that runs nothing."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def said(self, role: str, lines: int) -> str:
        """What a server might print."""
        return "out of memory"

    def settle(self) -> None:
        """Nothing to wait for."""


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, bool]]:
    """Peer, work and middleware of each round that the command makes; nothing is started or installed."""
    made: list[tuple[str, str, bool]] = []

    def measure(stack: Any, work: Work, seconds: float) -> Sample:
        if stack.peer.name == "channels4-daphne" and work.kind == "group":
            raise RoundError("no delivery")
        made.append((stack.peer.name, work.title, stack.peer.middleware))
        return Sample(100.0, 0.001, 0.002, seconds, 10, {"server": 0.1})

    monkeypatch.setattr(command, "Stack", Quiet)
    monkeypatch.setattr(command, "measure", measure)
    monkeypatch.setattr(command, "set_up", lambda environment: None)
    monkeypatch.setattr(command, "describe", lambda environments: {})
    monkeypatch.setattr(command.signal, "signal", lambda *args: None)
    return made


def test_peers_take_turns_after_a_warm_up(rounds: list[tuple[str, str, bool]]):
    assert command.main(["--only", "echo", "--peers", "millrace,channels4-uvicorn", "--rounds", "2", "--name", ""]) == 0
    assert [peer for peer, _, _ in rounds[:6]] == ["millrace", "channels4-uvicorn"] * 3
    assert len(rounds) == 3 * 2 * 3


def test_bare_leaves_the_middleware_out_for_everybody(rounds: list[tuple[str, str, bool]]):
    command.main(["--only", "http", "--bare", "--rounds", "1", "--name", ""])
    assert {middleware for _, _, middleware in rounds} == {False}


def test_a_failed_round_is_reported_and_the_others_go_on(
    rounds: list[tuple[str, str, bool]], capsys: pytest.CaptureFixture[str]
):
    assert command.main(["--only", "group", "--rounds", "1", "--name", ""]) == 1
    assert {peer for peer, _, _ in rounds} == {"millrace", "channels4-uvicorn"}
    assert "failed: no delivery; its server said: out of memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "ftp"], "unknown: ftp; choose among http, echo, group"),
        (["--peers", "tornado"], "unknown: tornado; choose among millrace"),
        (["--rounds", "0"], "a whole number from 1 on, not '0'"),
        (["--seconds", "1.5"], "a whole number from 1 on, not '1.5'"),
    ],
)
def test_a_wrong_option_is_named(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert sentence in capsys.readouterr().err


def test_only_our_side_changes_its_layer():
    assert command.chosen("millrace", "sqlite").title == "Millrace (sqlite)"
    assert command.chosen("channels4-uvicorn", "sqlite") is PEERS["channels4-uvicorn"]


def test_results_of_a_run_know_their_peers(rounds: list[tuple[str, str, bool]]):
    results = command.run([PEERS["millrace"]], [Work("echo", 1)], 2, 1)
    assert isinstance(results, Results)
    assert len(results.of(Work("echo", 1), "millrace")) == 2
