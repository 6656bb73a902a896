from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.installation import ROOMS, check_installation

HOUSE = Path(__file__).resolve().parents[2]

CHECK = f"""
import sys
sys.path.append({str(HOUSE)!r})
from channel_layer.exceptions import LayerConfigurationError
from channel_layer.installation import check_installation
sys.path.insert(0, ".")
try:
    check_installation()
except LayerConfigurationError as error:
    print(error)
"""


def complaint(directory: Path) -> str:
    """What a process says that runs in this directory."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", CHECK], cwd=directory, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_all_is_well_here() -> None:
    assert complaint(HOUSE) == ""


def test_it_says_nothing_in_a_directory_with_nothing_in_it(tmp_path: Path) -> None:
    assert complaint(tmp_path) == ""


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "channel_layer"])
def test_a_module_that_hides_a_room_is_named(tmp_path: Path, room: str) -> None:
    (tmp_path / f"{room}.py").write_text("")
    said = complaint(tmp_path)
    assert said == (
        f"{tmp_path}/{room}.py hides the package {room!r} of django-millrace, which lies in {HOUSE}/{room}; "
        f"rename it, for example to 'my_{room}.py', and change the imports of it"
    )


def test_a_package_that_hides_a_room_is_named(tmp_path: Path) -> None:
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__init__.py").write_text("")
    assert complaint(tmp_path).startswith(f"{tmp_path}/workers hides the package 'workers' of django-millrace")


def test_a_foreign_distribution_is_named(tmp_path: Path) -> None:
    (tmp_path / "daphne-4.1.2.dist-info").mkdir()
    (tmp_path / "daphne-4.1.2.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: daphne\nVersion: 4.1.2\n"
    )
    assert complaint(tmp_path) == (
        "the distribution 'daphne' is installed beside django-millrace, which provides the same names; "
        "remove it, and install ours again (pip uninstall daphne; pip install --force-reinstall django-millrace); "
        "if another package requires it, install the stand-in of django-millrace too"
    )


def test_a_stand_in_of_ours_is_none(tmp_path: Path) -> None:
    for name in ("channels", "daphne", "channels_redis"):
        version = re.search(r'^version = "(.+)"$', (HOUSE / "stand-ins" / name / "pyproject.toml").read_text(), re.M)
        assert version is not None
        (tmp_path / f"{name}-{version[1]}.dist-info").mkdir()
        (tmp_path / f"{name}-{version[1]}.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version[1]}\n"
        )
    assert complaint(tmp_path) == ""


def test_what_is_left_of_a_room_is_no_room(tmp_path: Path) -> None:
    for name in ROOMS:
        (tmp_path / name).mkdir()
        if name != "channels":
            (tmp_path / name / "__init__.py").write_text("")
    shutil.copytree(HOUSE / "channel_layer", tmp_path / "channel_layer", dirs_exist_ok=True)
    code = CHECK.replace(str(HOUSE), str(tmp_path))
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout.startswith(
        f"the package 'channels' of django-millrace is missing from {tmp_path}; install it again"
    )


def test_foreign_distributions_are_named_together(tmp_path: Path) -> None:
    for name in ("channels", "daphne"):
        (tmp_path / f"{name}-4.2.0.dist-info").mkdir()
        (tmp_path / f"{name}-4.2.0.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 4.2.0\n"
        )
    said = complaint(tmp_path)
    assert said.startswith("the distributions 'channels' and 'daphne' are installed beside django-millrace")
    assert "remove them" in said
    assert "(pip uninstall channels daphne; pip install" in said


def test_a_missing_room_is_named() -> None:
    with pytest.raises(LayerConfigurationError, match="the package 'no_such_room' of django-millrace is missing"):
        check_installation(rooms=["no_such_room"])
