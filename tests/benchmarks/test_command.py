"""Tests of the command ``python -m benchmarks``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import rounds as turns
from benchmarks.environments import MissingError
from benchmarks.peers import PEERS, Peer
from benchmarks.report import Section, Setting
from benchmarks.stack import RoundError, StackError
from benchmarks.studies import STUDIES
from benchmarks.works import WORKS, Sample, Work


class Quiet:
    """A stack that runs nothing; one of the peers does not start."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def __enter__(self) -> Quiet:
        if self.peer.title == "broken":
            raise StackError("it did not answer")
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def settle(self) -> None:
        """Nothing to wait for."""


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Peer and work of each round that the command makes; nothing is started or installed."""
    made: list[tuple[str, str]] = []

    def measure(stack: Any, work: Work, seconds: float) -> Sample:
        if stack.peer.name == "channels4-daphne" and work.kind == "group":
            raise RoundError("no delivery")
        made.append((stack.peer.name, work.title))
        return Sample(100.0, 0.001, 0.002, seconds, 10, {"server": 0.1})

    monkeypatch.setattr(turns, "Stack", Quiet)
    monkeypatch.setattr(turns, "measure", measure)
    monkeypatch.setattr(turns, "describe", lambda environments: {})
    monkeypatch.setattr(command, "set_up", lambda environment: None)
    monkeypatch.setattr(command, "program", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(command.signal, "signal", lambda *args: None)
    return made


@pytest.fixture
def studies(monkeypatch: pytest.MonkeyPatch) -> list[Setting]:
    """The settings of the one study that there is; it finds nothing much."""
    made: list[Setting] = []

    def idle(setting: Setting) -> Section:
        made.append(setting)
        return Section("Idle", "Nothing to do.", [["who", "CPU"], ["worker", "0%"]], {})

    for name in list(command.STUDIES):
        monkeypatch.delitem(command.STUDIES, name)
    monkeypatch.setitem(command.STUDIES, "idle", idle)
    return made


def test_peers_take_turns_after_a_warm_up(rounds: list[tuple[str, str]]):
    assert command.main(["--only", "echo", "--peers", "millrace,channels4-uvicorn", "--rounds", "2", "--name", ""]) == 0
    assert [peer for peer, _ in rounds[:6]] == ["millrace", "channels4-uvicorn"] * 3
    assert len(rounds) == 3 * 2 * 3


def test_a_failed_round_is_reported_and_the_others_go_on(
    rounds: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
):
    assert command.main(["--only", "group", "--rounds", "1", "--name", ""]) == 1
    assert {peer for peer, _ in rounds} == {"millrace", "hosted", "channels1", "channels4-uvicorn", "nchan"}
    assert "Channels 4, daphne: failed: no delivery" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "ftp"], "unknown: ftp; choose among http, echo, sync, group"),
        (["--peers", "tornado"], "unknown: tornado; choose among millrace"),
        (["--rounds", "0"], "a whole number from 1 on, not '0'"),
        (["--seconds", "1.5"], "a whole number from 1 on, not '1.5'"),
    ],
)
def test_a_wrong_option_is_named(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert sentence in capsys.readouterr().err


def test_nchan_takes_part_in_groups_only(rounds: list[tuple[str, str]]):
    command.main(["--only", "http,echo,group", "--rounds", "1", "--name", ""])
    assert {work for peer, work in rounds if peer == "nchan"} == {"group of 500 members", "group of 2,000 members"}
    assert {peer for peer, work in rounds if work == "echo 200 sockets"} == set(PEERS) - {"nchan"}


def test_a_peer_that_cannot_be_installed_is_left_out_with_a_line(
    rounds: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def set_up(environment: str) -> None:
        if environment == "channels1":
            raise MissingError("it needs Python 3.11")

    monkeypatch.setattr(command, "set_up", set_up)
    assert command.main(["--only", "http", "--rounds", "1", "--name", ""]) == 0
    assert {peer for peer, _ in rounds} == {"millrace", "channels4-daphne", "channels4-uvicorn"}
    assert "Channels 1.1.8 is left out: it needs Python 3.11\n" in capsys.readouterr().err


def test_without_wrk_the_requests_are_left_out(
    rounds: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def program(name: str) -> str:
        raise MissingError(f"{name} is missing")

    monkeypatch.setattr(command, "program", program)
    assert command.main(["--only", "http,echo", "--peers", "millrace", "--rounds", "1", "--name", ""]) == 0
    assert {work for _, work in rounds} == {work.title for work in WORKS if work.kind == "echo"}
    assert "http is left out: wrk is missing\n" in capsys.readouterr().err


def test_without_our_side_nothing_is_measured(
    rounds: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def set_up(environment: str) -> None:
        raise MissingError("it is not installed")

    monkeypatch.setattr(command, "set_up", set_up)
    assert command.main(["--name", ""]) == 1
    assert (rounds, capsys.readouterr().err) == ([], "Stopped: it is not installed\n")


def test_a_peer_that_does_not_start_is_left_out(rounds: list[tuple[str, str]]):
    broken = replace(PEERS["channels1"], title="broken")
    results = turns.run([PEERS["millrace"], broken], [Work("echo", 1)], Setting(2, 1, command.tell))
    assert [peer.name for peer in results.peers] == ["millrace"]
    assert results.left_out == {"channels1": "it did not answer"}
    assert len(results.of(Work("echo", 1), PEERS["millrace"])) == 2


def test_a_study_alone_starts_no_peer(
    rounds: list[tuple[str, str]], studies: list[Setting], capsys: pytest.CaptureFixture[str]
):
    assert command.main(["--only", "idle", "--rounds", "2", "--seconds", "5", "--name", ""]) == 0
    assert [(setting.rounds, setting.seconds) for setting in studies] == [(2, 5)]
    assert rounds == []
    assert "## Idle\n" in capsys.readouterr().out


def test_studies_follow_the_rounds_unless_others_are_asked_for(rounds: list[tuple[str, str]], studies: list[Setting]):
    command.main(["--only", "echo", "--peers", "millrace", "--rounds", "1", "--name", ""])
    assert studies == []
    command.main(["--peers", "millrace", "--rounds", "1", "--name", ""])
    assert len(studies) == 1


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (MissingError("no such program"), 0, "idle is left out: no such program"),
        (RoundError("no echo"), 1, "idle: failed: no echo"),
        (ZeroDivisionError("division by zero"), 1, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_study_that_cannot_be_done_does_not_cost_the_others(
    error: Exception,
    status: int,
    line: str,
    rounds: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def fail(setting: Setting) -> Section:
        raise error

    monkeypatch.setitem(command.STUDIES, "idle", fail)
    assert command.main(["--only", "echo,idle", "--peers", "millrace", "--rounds", "1", "--name", ""]) == status
    said = capsys.readouterr()
    assert line in said.err
    assert "echo 50 sockets" in said.out


def test_everything_with_the_defaults_is_estimated_at_about_twenty_minutes():
    peers = list(PEERS.values())
    setting = Setting(3, 3, command.tell)
    compared = turns.estimate(peers, WORKS, [], setting)
    everything = turns.estimate(peers, WORKS, list(STUDIES), setting)
    assert 5 * 60 < compared < everything < 25 * 60
