"""One anonymous file for all bodies of a process."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from interface_server.spool.file import BLOCK, SpoolFile


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SpoolFile]:
    made = SpoolFile(str(tmp_path), 4 * BLOCK, 1000)
    yield made
    made.close()


def size_on_disk(file: SpoolFile) -> int:
    return os.fstat(file._file).st_size


def test_what_is_written_is_read_again(file: SpoolFile) -> None:
    one, two = file.take(2)
    extents = [(one * BLOCK + 10, BLOCK - 10), (two * BLOCK, 20)]
    content = os.urandom(BLOCK + 10)
    file.write(extents, [content[:7], content[7:100_000], b"", content[100_000:]])
    assert b"".join(file.read(extent) for extent in extents) == content


def test_the_file_has_no_name(file: SpoolFile, tmp_path: Path) -> None:
    file.write([(file.take(1)[0], 4)], [b"body"])
    assert list(tmp_path.iterdir()) == []


def test_a_directory_whose_file_system_has_no_nameless_files_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_TMPFILE")
    file = SpoolFile(str(tmp_path), BLOCK, 1000)
    file.write([(file.take(1)[0], 4)], [b"body"])
    assert list(tmp_path.iterdir()) == []
    assert os.fstat(file._file).st_mode & 0o777 == 0o600
    file.close()


def test_blocks_are_used_again_from_the_beginning(file: SpoolFile) -> None:
    blocks = file.take(3)
    file.give_back([blocks[1]])
    file.give_back([blocks[0]])
    assert file.take(3) == [0, 1, 3]


def test_the_file_shrinks_when_its_end_is_free(file: SpoolFile) -> None:
    blocks = file.take(4)
    file.write([(block * BLOCK, BLOCK) for block in blocks], [bytes(4 * BLOCK)])
    file.give_back([0, 2])
    assert (file.used, size_on_disk(file)) == (2 * BLOCK, 4 * BLOCK)
    file.give_back([3])
    assert size_on_disk(file) == 2 * BLOCK
    file.give_back([1])
    assert (file.used, size_on_disk(file)) == (0, 0)
    assert sorted(file.take(4)) == [0, 1, 2, 3]


def test_no_more_blocks_are_given_than_the_limit_allows(file: SpoolFile) -> None:
    file.take(3)
    assert file.has_room
    with pytest.raises(OSError, match="limit of all spooled bodies") as caught:
        file.take(2)
    assert caught.value.errno == errno.ENOSPC
    file.take(1)
    assert not file.has_room


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        SpoolFile(str(tmp_path / "none"), BLOCK, 1000).open()
    assert caught.value.filename == str(tmp_path / "none")


def test_after_the_end_nothing_is_given_or_taken_back(file: SpoolFile) -> None:
    blocks = file.take(2)
    file.close()
    file.give_back(blocks)
    assert file.used == 0
    with pytest.raises(OSError, match="closed"):
        file.take(1)


def test_memory_is_counted(file: SpoolFile) -> None:
    file.count(1001)
    assert file.is_crowded
    file.count(-1)
    assert not file.is_crowded
