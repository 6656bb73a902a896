"""``scripts/second_chance.py``: what it runs again, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_house import ROOT

TESTS = """
import os
import pytest

@pytest.mark.xdist_group("tests/test_numbers.py-number=1")
@pytest.mark.parametrize("number", range(5), ids=str)
def test_number(number):
    assert number >= int(os.environ["LEAST"])

def test_nothing():
    pass

@pytest.mark.xdist_group("tests/test_numbers.py")
def test_plain():
    assert "PLAIN" not in os.environ
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "test_numbers.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def run(project: Path, *command: str, least: int, plain: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env={"LEAST": str(least)} | ({"PLAIN": "fails"} if plain else {}),
        capture_output=True,
        text=True,
        timeout=300,
    )


def fail(project: Path, least: int) -> None:
    first = run(project, "-m", "pytest", "-n", "2", "--dist", "loadgroup", least=least)
    assert f"{least} failed" in first.stdout, first.stdout


@pytest.mark.parametrize(
    ("failed", "least_again", "code", "said"),
    [
        (2, 0, 0, ["2 failed", "test_number[1]", "2 passed", "a fault that comes and goes"]),
        (2, 1, 1, ["1 failed, 1 passed", "They fail again."]),
        (4, 0, 1, ["4 failed", "More than 3 are not tried again."]),
    ],
)
def test_what_failed_is_run_once_more(project: Path, failed: int, least_again: int, code: int, said: list[str]) -> None:
    fail(project, failed)
    again = run(project, str(ROOT / "scripts" / "second_chance.py"), least=least_again)
    assert again.returncode == code, again.stdout
    for text in said:
        assert text in again.stdout


@pytest.mark.parametrize(("plain_again", "code"), [(False, 0), (True, 1)])
def test_a_group_that_is_named_after_its_module_is_no_part_of_the_test(
    project: Path, plain_again: bool, code: int
) -> None:
    first = run(project, "-m", "pytest", "-n", "2", "--dist", "loadgroup", least=0, plain=True)
    assert "1 failed" in first.stdout, first.stdout
    again = run(project, str(ROOT / "scripts" / "second_chance.py"), least=0, plain=plain_again)
    assert again.returncode == code, again.stdout
    assert ("1 failed" if plain_again else "1 passed") in again.stdout.partition("test session starts")[2]


def test_a_run_that_left_no_list_is_refused(project: Path) -> None:
    again = run(project, str(ROOT / "scripts" / "second_chance.py"), least=0)
    assert (again.returncode, again.stdout.count("no list of failures")) == (1, 1)
