"""Reading what is in the system's cache: the content, or nothing at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interface_server.spool import cached
from interface_server.spool.cached import read_cached


def test_what_comes_is_the_content_from_there_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(100)))
    into = bytearray(50)
    file = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        count = read_cached(file, 60, memoryview(into))
        assert read_cached(file, 100, memoryview(bytearray(1))) == 0
    finally:
        os.close(file)
    assert into[:count] == bytes(range(60, 60 + count))
    assert into[count:] == bytes(50 - count)


def test_nothing_comes_from_what_cannot_be_read_or_where_the_system_cannot_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_cached(-1, 0, memoryview(bytearray(1))) == 0
    (tmp_path / "file").write_bytes(b"x")
    monkeypatch.setattr(cached, "_AT_ONCE", None)
    with (tmp_path / "file").open("rb") as file:
        assert read_cached(file.fileno(), 0, memoryview(bytearray(1))) == 0
