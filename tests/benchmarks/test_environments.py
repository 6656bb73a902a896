"""Tests of benchmarks.environments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import environments
from benchmarks.environments import ENVIRONMENTS, Environment, interpreter, set_up
from benchmarks.programs import MissingError


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that would have been run, all of them with success."""
    commands: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(environments.subprocess, "run", run)
    return commands


def test_this_interpreter_serves_what_takes_any():
    assert interpreter(None) == interpreter((99, 0)) == sys.executable


def test_an_older_interpreter_is_looked_for_by_name(ran: list[list[str]], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environments.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert interpreter((3, 9)) == "python3.9"
    assert ran == [["python3.9", "-c", ""]]


def test_an_interpreter_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environments.shutil, "which", lambda name: None)
    with pytest.raises(MissingError, match=r"needs Python 3\.9, and there is no python3\.9 on the path"):
        interpreter((3, 9))


def test_old_packages_are_built_with_the_setuptools_that_came_before(
    ran: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(environments, "HOMES", tmp_path)
    monkeypatch.setitem(ENVIRONMENTS, "old", Environment(["old==1"], own_django=False, before=["setuptools<66"]))
    for _ in range(2):  # the second time finds it made
        set_up("old")
    made, first, second = ran
    assert made[1:] == ["-m", "venv", "--clear", str(tmp_path / "old")]
    assert (first[-1], "--no-build-isolation" in first) == ("setuptools<66", False)
    assert second[-3:] == ["--no-build-isolation", "setuptools<66", "old==1"]


def test_channels_1_runs_with_its_own_django_on_a_python_it_knows():
    wanted = ENVIRONMENTS["channels1"].requirements()
    assert [each for each in wanted if each.lower().startswith("django")] == ["Django==2.2.28"]
    assert ENVIRONMENTS["channels1"].newest == (3, 11)
