"""``scripts/mutants.py``, which is what ``make mutants`` runs, on a repository of a few lines."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_house import ROOT

CODE = """
import threading

class Sum:
    def __init__(self):
        self.lock = threading.Lock()
        self.total = 0

    def add(self, number):
        with self.lock:
            self.total += number

    def is_over(self, limit):
        return self.total > limit
"""

TESTS = """
from workers.adder import Sum

def test_a_number_is_added():
    numbers = Sum()
    numbers.add(3)
    assert numbers.total == 3
    assert numbers.is_over(2)
    assert not numbers.is_over(4)
"""

UNNOTICED = [
    "workers/adder.py:10: with self.lock  →  if True",
    "workers/adder.py:14: >  →  >=",
]
"""No two threads add, and nobody asks for exactly the limit."""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, text in {"workers/adder.py": CODE, "tests/workers/test_adder.py": TESTS}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "mutants.py", tmp_path / "scripts")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def mutants(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/mutants.py", *arguments]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_faults_that_no_test_notices_are_reported_and_the_code_stays_as_it_is(repository: Path) -> None:
    result = mutants(repository, "--seed", "1", "workers")
    assert result.returncode == 1, result.stdout + result.stderr
    said, _, report = result.stdout.partition("\n\n")
    assert report.splitlines() == ["4 tried, 2 unnoticed (--seed 1)", *UNNOTICED]
    assert "noticed  workers/adder.py:11: self.total += number  →  pass" in said
    assert (repository / "workers" / "adder.py").read_text() == CODE


def test_a_sample_is_drawn_and_can_be_repeated(repository: Path) -> None:
    one, other = (mutants(repository, "--list", "--seed", "7", "--count", "2").stdout for _ in range(2))
    assert one == other
    first, *drawn = one.splitlines()
    assert first == "2 of 4 possible faults, --seed 7"
    assert len(set(drawn)) == 2


@pytest.mark.slow
def test_tests_that_fail_without_a_fault_say_nothing(repository: Path) -> None:
    (repository / "tests" / "workers" / "test_adder.py").write_text("def test_a_number(): assert 0\n")
    result = mutants(repository, "workers")
    assert result.returncode == 1
    assert "not used, because they fail without a fault: tests/workers/test_adder.py" in result.stdout
    assert "0 tried, 0 unnoticed" in result.stdout
