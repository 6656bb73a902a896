"""The rooms and who may know whom."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ["channel_layer", "routing", "workers", "interface_server", "channels"]

MOST_ANY = 15
"""Uses of `Any` in 1,000 lines of a room, beyond which an editor loses the trail from room to room."""


def lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "import sys; sys.path.insert(0, ''); from importlinter.cli import lint_imports_command as run; run()",
        "--config",
        str(ROOT / "pyproject.toml"),
        "--no-cache",
    ]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300)


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


LATE = [
    ("routing.routes", "routing.router"),
    ("channel_layer.tracing", "channel_layer.tracing.opentelemetry_tracer"),
]
"""Imports inside a function, of a module that is made of what the importing one defines."""


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph(*ROOMS, exclude_type_checking_imports=True, cache_dir=None)
    for importer, imported in LATE:
        graph.remove_import(importer=importer, imported=imported)
    found = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(list(TopologicalSorter(found).static_order())) == len(found) > 300  # a circle raises CycleError


def test_every_room_is_typed_and_says_what_it_is() -> None:
    for room in ROOMS:
        assert (ROOT / room / "py.typed").exists(), room
        assert (ROOT / room / "__init__.py").read_text().startswith('"""'), room


def uses_of_any(file: Path) -> int:
    return sum(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(ast.parse(file.read_text())))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_typed_and_seldom_says_any(room: str) -> None:
    files = {file: uses_of_any(file) for file in (ROOT / room).rglob("*.py")}
    lines = sum(len(file.read_text().splitlines()) for file in files)
    most = sorted(files, key=files.__getitem__, reverse=True)[:8]
    assert sum(files.values()) * 1_000 <= MOST_ANY * lines, (
        f"{room} has {sum(files.values())} uses of Any in {lines} lines, the limit is {MOST_ANY} in 1,000; give the "
        f"types, or one alias with the reason, most of all in "
        + ", ".join(f"{file.relative_to(ROOT)} ({files[file]})" for file in most)
    )
