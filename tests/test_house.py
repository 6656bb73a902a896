"""The rooms and who may know whom."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ["channel_layer", "routing", "workers", "interface_server", "channels"]


def lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "import sys; sys.path.insert(0, ''); from importlinter.cli import lint_imports_command as run; run()",
        "--config",
        str(ROOT / "pyproject.toml"),
        "--no-cache",
    ]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=100)


def test_nothing_imports_upwards() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("room", "statement"),
    [
        ("channel_layer", "import workers"),
        ("routing", "import channel_layer"),
        ("workers", "import interface_server"),
        ("interface_server/wire", "import django"),
        ("interface_server/bridge", "from interface_server.http import exchange"),
        ("workers", "from channels import version"),
        ("channels/runtime", "from channels.http import body"),
    ],
)
def test_an_import_upwards_would_be_found(tmp_path: Path, room: str, statement: str) -> None:
    for name in ROOMS:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / room / "climber.py").write_text(statement + "\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{room.replace('/', '.')}.climber" in result.stdout


def test_every_room_is_typed_and_says_what_it_is() -> None:
    for room in ROOMS:
        assert (ROOT / room / "py.typed").exists(), room
        assert (ROOT / room / "__init__.py").read_text().startswith('"""'), room
