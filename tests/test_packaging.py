"""The wheel and the sdist: what is in them, and that they work where nothing else is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.test_house import ROOMS, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NOT_SOURCE = shutil.ignore_patterns("__pycache__", "*.egg-info")

ROUND_TRIP = """
import asyncio
import channel_layer, channels, interface_server, routing, workers
from channel_layer.memory import MemoryChannelLayer
from routing import Router, route

layer = MemoryChannelLayer()
layer.send("greetings", {"text": "hello", "bytes": b"\\x00\\xff"})
assert layer.receive(["greetings"]) == ("greetings", {"text": "hello", "bytes": b"\\x00\\xff"})
layer.group_add("everybody", "one")
layer.send_group("everybody", {"text": "all"})
assert asyncio.run(layer.areceive(["one"])) == ("one", {"text": "all"})
print(channels.__version__, channels.__file__)
"""


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command where this repository is not in sight."""
    hidden = {"PYTHONPATH", "DJANGO_SETTINGS_MODULE", "VIRTUAL_ENV"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=240
    )


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist and the wheel that was built from it."""
    source = tmp_path_factory.mktemp("source")
    for name in ["setup.cfg", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md", "CHANGELOG.md"]:
        shutil.copy(ROOT / name, source)
    for name in [*ROOMS, "demo", "tests"]:
        shutil.copytree(ROOT / name, source / name, ignore=NOT_SOURCE)
    target = tmp_path_factory.mktemp("dist")
    result = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, source, cwd=target)
    assert result.returncode == 0, result.stdout + result.stderr
    return target


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    """The wheel."""
    [path] = distributions.glob("millrace-*.whl")
    return path


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` directory of an environment with the wheel, what it requires, and nothing else."""
    directory = tmp_path_factory.mktemp("environment")
    venv.create(directory, with_pip=True)
    bin = directory / "bin"
    result = run(bin / "python", "-m", "pip", "install", "--quiet", wheel, cwd=directory)
    assert result.returncode == 0, result.stdout + result.stderr
    return bin


def test_the_wheel_holds_exactly_the_five_rooms(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(ROOMS)


def test_the_wheel_holds_every_file_of_the_rooms(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    kept = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == kept
    assert any(name.endswith(".lua") for name in packed)


def test_the_licence_travels_with_both(distributions: Path, wheel: Path) -> None:
    assert any(name.endswith("/LICENSE") for name in zipfile.ZipFile(wheel).namelist())
    [sdist] = distributions.glob("millrace-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "setup.cfg", "pyproject.toml"} <= names


def test_the_rooms_work_from_a_clean_environment(clean: Path, tmp_path: Path) -> None:
    result = run(clean / "python", "-W", "error", "-c", ROUND_TRIP, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert str(clean.parent) in result.stdout


def test_the_daphne_command_works_from_a_clean_environment(clean: Path, tmp_path: Path) -> None:
    version = run(clean / "daphne", "--version", cwd=tmp_path)
    assert (version.returncode, version.stderr) == (0, "")
    assert "0." in version.stdout
    help_text = run(clean / "daphne", "--help", cwd=tmp_path)
    assert (help_text.returncode, help_text.stderr) == (0, "")
    assert "--port" in help_text.stdout


def test_type_checkers_see_the_types(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "uses.py").write_text(
        "from channel_layer.memory import MemoryChannelLayer\nreveal_type(MemoryChannelLayer().group_channels('g'))\n"
    )
    command = [sys.executable, "-m", "mypy", "--python-executable", clean / "python", "--config-file=", "uses.py"]
    result = run(*command, cwd=tmp_path)
    assert 'Revealed type is "list[str]"' in result.stdout.replace("builtins.", ""), result.stdout + result.stderr
