from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from channels.rooms import HOUSE, check_rooms


def test_our_own_rooms_are_found_in_their_house_and_there_is_no_complaint() -> None:
    check_rooms()
    assert {Path(str(importlib.import_module(room).__file__)).parents[1] for room in ROOMS} == {HOUSE}


ROOMS = ["channel_layer", "routing", "workers", "interface_server"]


@pytest.mark.parametrize("name", ROOMS)
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
