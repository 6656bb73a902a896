"""A queue of bytes, partly on the disk."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interface_server.spool.file import BLOCK, SpoolFile
from interface_server.spool.spool import BATCH, LEAST, Spool, Work

KEEP = 100_000
PLENTY = 1 << 30


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SpoolFile]:
    made = SpoolFile(str(tmp_path), 64 * BLOCK, PLENTY)
    yield made
    assert (made.used, made.memory) == (0, 0), "something was not given back"
    made.close()


def work_off(spool: Spool, *, idle: bool = False) -> int:
    """Do all its work; returns how many pieces there were."""
    count = 0
    while (work := spool.work(idle=idle)) is not None:
        work.run()
        spool.done(work)
        count += 1
    return count


def drained(spool: Spool, size: int = 10_000) -> bytes:
    taken = []
    while spool.size:
        taken.append(spool.take(size))
        work_off(spool)
    return b"".join(taken)


def closed(spool: Spool) -> None:
    spool.close()
    work_off(spool)


def test_what_is_small_stays_in_memory(file: SpoolFile) -> None:
    spool = Spool(file, KEEP)
    for _ in range(10):
        spool.put(b"x" * (KEEP // 10))
    assert work_off(spool) == 0
    assert (spool.size, spool.in_memory, file.used) == (KEEP, KEEP, 0)
    assert spool.take(3) == b"xxx"
    assert drained(spool) == b"x" * (KEEP - 3)


def test_what_is_large_leaves_the_memory(file: SpoolFile) -> None:
    content = os.urandom(1_000_000)
    spool = Spool(file, KEEP)
    spool.put(content)
    work_off(spool)
    assert spool.in_memory == LEAST
    assert file.used == 4 * BLOCK
    assert file.memory == LEAST
    assert drained(spool) == content
    assert file.used == 0


def test_when_memory_is_scarce_each_keeps_the_least(tmp_path: Path) -> None:
    file = SpoolFile(str(tmp_path), 64 * BLOCK, 50_000)
    spools = [Spool(file, KEEP) for _ in range(10)]
    contents = [os.urandom(60_000) for _ in spools]
    for spool, content in zip(spools, contents, strict=True):
        spool.put(content)
    for spool in spools:
        work_off(spool)
    assert file.memory <= 50_000 + len(spools) * LEAST
    assert [drained(spool) for spool in spools] == contents
    file.close()


def test_what_nobody_takes_for_a_while_goes_to_the_disk(file: SpoolFile) -> None:
    spool = Spool(file, KEEP)
    spool.put(b"x" * KEEP)
    assert work_off(spool, idle=True) == 1
    assert spool.in_memory == LEAST
    closed(spool)


def test_tiny_pieces_take_no_more_memory_than_they_have_bytes(file: SpoolFile) -> None:
    spool = Spool(file, KEEP)
    for _ in range(20_000):
        spool.put(b"ab")
    assert len(spool._front) <= 4
    assert drained(spool) == b"ab" * 20_000


@pytest.mark.parametrize("taken", [100_000, 400_000, 500_000, 520_000])
def test_what_is_left_of_a_large_piece_holds_little_more_than_it_has(file: SpoolFile, taken: int) -> None:
    spool = Spool(file, PLENTY)
    spool.put(bytes(524_288))
    for _ in range(taken // 20_000):
        spool.take(20_000)
    [piece] = spool._front
    held = piece.obj if isinstance(piece, memoryview) else piece
    assert len(held) < 4 * spool.size + LEAST  # type: ignore[arg-type]
    assert drained(spool) == bytes(524_288 - taken)


def test_small_pieces_can_follow_some_that_could_not_be_written(tmp_path: Path) -> None:
    file = SpoolFile(str(tmp_path), BLOCK, PLENTY)
    file.take(1)
    spool = Spool(file, 0)
    put = b""
    for number in range(400):
        spool.put(b"%03d" % number * 50)
        put += b"%03d" % number * 50
        work_off(spool)
    assert spool.failure is not None
    assert drained(spool) == put
    file.close()


def test_a_queue_that_is_emptied_uses_the_memory_again(file: SpoolFile) -> None:
    spool = Spool(file, KEEP)
    spool.put(b"a" * 300_000)
    work_off(spool)
    spool.put(b"b" * (BATCH - 1))  # too little for a write
    assert drained(spool) == b"a" * 300_000 + b"b" * (BATCH - 1)
    spool.put(b"c" * 100)
    assert work_off(spool) == 0
    assert drained(spool) == b"c" * 100


class HalfCached(SpoolFile):
    """A file of which the system's cache has what dice say."""

    def __init__(self, dice: random.Random, *args: Any) -> None:
        super().__init__(*args)
        self._dice = dice

    def read_cached(self, extent: tuple[int, int], into: memoryview) -> int:
        length = self._dice.choice([0, 1, extent[1] // 2, extent[1]])
        return super().read_cached((extent[0], min(length, extent[1])), into)


def test_what_the_cache_has_is_taken_without_work(file: SpoolFile) -> None:
    content = os.urandom(2 * BLOCK)
    spool = Spool(file, KEEP)
    spool.put(content)
    work_off(spool)
    assert spool.in_memory == LEAST
    assert spool.take(LEAST + BLOCK) + spool.take(2 * BLOCK) == content
    assert work_off(spool) == 1  # the blocks go back


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_in_whatever_order_the_bytes_come_out_as_they_went_in(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    file = HalfCached(dice, str(tmp_path), 64 * BLOCK, dice.choice([0, 100_000, PLENTY]))
    spool = Spool(file, dice.choice([0, 1000, KEEP]))
    put, taken, under_way = bytearray(), bytearray(), []
    for step in range(600):
        what = dice.random()
        if what < 0.4 and step < 400:
            piece = dice.randbytes(dice.choice([1, 10, 5_000, 70_000, BLOCK, 600_000]))
            spool.put(piece)
            put += piece
        elif what < 0.7:
            taken += spool.take(dice.choice([1, 1000, 32_768, BLOCK]))
        elif under_way:
            work = under_way.pop()
            work.run()
            spool.done(work)
        if (found := spool.work(idle=dice.random() < 0.1)) is not None:
            under_way.append(found)
        assert spool.size == len(put) - len(taken)
    for work in under_way:
        work.run()
        spool.done(work)
    taken += drained(spool)
    assert taken == put
    assert (file.used, file.memory) == (0, 0)
    file.close()


def test_a_full_disk_leaves_everything_in_memory(tmp_path: Path) -> None:
    file = SpoolFile(str(tmp_path), BLOCK, PLENTY)
    spool = Spool(file, KEEP)
    spool.put(b"a" * 200_000)
    work_off(spool)
    assert spool.failure is None
    spool.put(b"b" * BATCH)
    work_off(spool)
    assert spool.failure is not None
    spool.put(b"c" * 10)
    assert drained(spool) == b"a" * 200_000 + b"b" * BATCH + b"c" * 10
    spool.put(b"d" * 200_000)
    assert work_off(spool) == 0
    spool.forgive()
    assert work_off(spool) == 1
    closed(spool)
    assert (file.used, file.memory) == (0, 0)
    file.close()


class Torn(SpoolFile):
    """A file whose content cannot be read."""

    def read_cached(self, extent: tuple[int, int], into: memoryview) -> int:
        return 0

    def read(self, extent: tuple[int, int]) -> bytes:
        raise OSError(5, "input/output error")


def test_what_cannot_be_read_again_is_lost(tmp_path: Path) -> None:
    file = Torn(str(tmp_path), 10 * BLOCK, PLENTY)
    spool = Spool(file, 0)
    spool.put(b"x" * 100_000)
    work_off(spool)
    spool.take(BLOCK)
    assert not spool.lost
    work = spool.work()
    assert work is not None
    work.run()
    spool.done(work)
    assert spool.lost
    closed(spool)
    assert file.used == 0
    file.close()


def _writing(spool: Spool) -> Work:
    spool.put(b"x" * 500_000)
    work = spool.work()
    assert work is not None
    return work


def test_what_is_closed_while_it_is_written_gives_everything_back(file: SpoolFile) -> None:
    spool = Spool(file, KEEP)
    work = _writing(spool)
    spool.put(b"y" * 10)
    work.run()
    spool.close()
    spool.close()
    assert file.used
    spool.done(work)
    work_off(spool)
    spool.put(b"z")
    assert spool.size == 0


def test_what_is_closed_while_it_is_read_gives_everything_back(
    file: SpoolFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(file, KEEP)
    monkeypatch.setattr(file, "read_cached", lambda extent, into: 0)
    work = _writing(spool)
    work.run()
    spool.done(work)
    spool.take(LEAST + 1)
    fetching = spool.work()
    assert fetching is not None
    spool.close()
    fetching.run()
    spool.done(fetching)
    assert spool.size == 0
    work_off(spool)
