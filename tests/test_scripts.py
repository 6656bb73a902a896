"""``scripts/test-needs``, on a machine where neither of the two programs is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.test_house import ROOT

TOOLS = ["bash", "env", "grep", "id", "sed"]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A directory of programs, among them an ``apt-get`` that only writes down what it was asked for."""
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    scripts = {"apt-get": f'echo "$@" >> {tmp_path}/asked\n', "sudo": '[ "$1" = -n ] || exec "$@"\n'}
    for name, script in scripts.items():
        (tmp_path / name).write_text(f"#!{tmp_path}/bash\n{script}")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def needs(bare: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [bare / "bash", ROOT / "scripts" / "test-needs", "no-python"],
        env={"PATH": str(bare)} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("environment", "installs"), [({"INSTALL": "no"}, False), ({"INSTALL": "yes"}, True), ({}, True)]
)
def test_what_is_installed_is_said_first_and_can_be_refused(
    bare: Path, environment: dict[str, str], installs: bool
) -> None:
    run = needs(bare, **environment)
    assert "apt-get install --no-install-recommends redis-server postgresql rabbitmq-server" in run.stdout
    assert ("Nothing was installed" in run.stdout) is not installs
    assert (bare / "asked").exists() is installs
    assert run.returncode == 1  # this apt-get brings nothing
    assert "The tests need a Redis server: " in run.stderr
    assert "-m pytest -m 'not redis and not browser and not slow'" in run.stderr


def test_a_terminal_is_asked(bare: Path) -> None:
    main, terminal = os.openpty()
    try:
        os.write(main, b"no\n")
        run = subprocess.run(
            [bare / "bash", ROOT / "scripts" / "test-needs", "no-python"],
            env={"PATH": str(bare)}, stdin=terminal, capture_output=True, text=True, timeout=50,
        )  # fmt: skip
    finally:
        os.close(main)
        os.close(terminal)
    assert "Nothing was installed" in run.stdout
    assert not (bare / "asked").exists()
