"""Where the file lies and who may have put it there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.sqlite import location
from channel_layer.sqlite.location import create_file, default_path, secure_directory


@pytest.mark.parametrize("shared", [True, False])
def test_the_default_is_shared_memory_where_there_is_some(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "shm"
    if shared:
        memory.mkdir()
    monkeypatch.setattr(location, "SHARED_MEMORY", memory)
    monkeypatch.setattr(location.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    expected = memory if shared else tmp_path / "tmp"
    assert default_path("shop") == expected / f"millrace-{os.getuid()}" / "shop.sqlite3"


def test_without_a_name_the_working_directory_tells_projects_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for directory in ("one/shop", "other/shop", "one/shop"):
        (tmp_path / directory).mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(tmp_path / directory)
        found.append(default_path(None))
    assert found[0] == found[2] != found[1]
    assert found[0].name.startswith("shop-")


@pytest.mark.parametrize("name", ["", "a/b", "..\x00", "a b", "ü", "n" * 101, 7])
def test_a_name_that_belongs_into_no_file_name_is_refused(name: object) -> None:
    with pytest.raises(LayerConfigurationError, match="is no name for a channel layer's file"):
        default_path(name)  # type: ignore[arg-type]


def test_the_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    secure_directory(tmp_path / "own")
    secure_directory(tmp_path / "own")
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o700


def test_a_link_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "own").symlink_to(tmp_path / "real")
    with pytest.raises(LayerConfigurationError, match=r"is no directory.*CONFIG: path"):
        secure_directory(tmp_path / "own")


def test_a_directory_others_can_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own").chmod(0o777)
    with pytest.raises(LayerConfigurationError, match="can be written to by other users"):
        secure_directory(tmp_path / "own")


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").mkdir(mode=0o700)
    monkeypatch.setattr(location.os, "getuid", lambda: os.geteuid() + 1)
    with pytest.raises(LayerConfigurationError, match="belongs to user"):
        secure_directory(tmp_path / "own")


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(LayerConfigurationError, match=r"cannot create .*No such file"):
        secure_directory(tmp_path / "missing" / "own")


def test_the_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        create_file(tmp_path / "layer.sqlite3")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "layer.sqlite3").stat().st_mode) == 0o600


def test_a_file_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "layer.sqlite3").write_bytes(b"x")
    create_file(tmp_path / "layer.sqlite3")
    assert (tmp_path / "layer.sqlite3").read_bytes() == b"x"


def test_what_is_no_file_and_what_cannot_be_made_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(LayerConfigurationError, match="is no regular file"):
        create_file(tmp_path)
    with pytest.raises(LayerConfigurationError, match=r"cannot create .*No such file or directory.*CONFIG: path"):
        create_file(tmp_path / "missing" / "layer.sqlite3")
