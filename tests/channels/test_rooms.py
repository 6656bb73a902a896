from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from channels.rooms import HOUSE, check_rooms


def test_our_own_rooms_are_fine() -> None:
    check_rooms()


@pytest.mark.parametrize("name", ["channel_layer", "routing", "workers", "interface_server"])
def test_a_module_of_the_project_that_hides_a_room_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text("")
    (tmp_path / "manage.py").write_text("import channels\n")
    run = subprocess.run(
        [sys.executable, "manage.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(HOUSE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = run.stderr.strip().splitlines()[-1]
    assert said.startswith(f"ImportError: {tmp_path / name}.py hides the package '{name}' of django-millrace")
    assert "rename it" in said
