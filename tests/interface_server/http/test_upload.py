"""The body of a request, from the client to its reader."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interface_server.http.upload import WINDOW, Upload
from tests.interface_server.fakes import QuietContext

CHUNK = 262_144


class Case:
    """A body, its context, and who hears of it."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.context = QuietContext(spool_dir=str(directory), **options)
        self.moves = 0
        self.upload = Upload(self.context, "local", self, self._moved)  # type: ignore[arg-type]

    def _moved(self) -> None:
        self.moves += 1
        if self.upload.channel is not None:
            self.upload.push()

    def whole(self, content: bytes) -> None:
        """Take all of it in, in pieces as a socket gives them."""
        for start in range(0, len(content), 65_536):
            self.upload.feed(content[start : start + 65_536])
        self.upload.complete = True
        self.context.disk.work_off()

    def beginning(self) -> bytes:
        while (content := self.upload.beginning()) is None:
            self.context.disk.work_off()
        return content

    def pushed(self) -> list[dict[str, Any]]:
        """Let chunks pass as far as they do."""
        count = -1
        while count != len(self.context.records.entries):
            count = len(self.context.records.entries)
            self.upload.stored()
            self.upload.push()
            self.context.disk.work_off()
        return self.context.messages_on("http.request.body?local")


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case(tmp_path)
    yield made
    made.upload.close()
    made.context.disk.work_off()
    assert (made.context.disk.file.used, made.context.disk.file.memory) == (0, 0)
    made.context.disk.file.close()


@pytest.mark.parametrize("size", [1, CHUNK, CHUNK + 1, 2 * CHUNK, 1_900_000])
def test_a_body_comes_whole_and_in_order(case: Case, size: int) -> None:
    content = os.urandom(size)
    case.whole(content)
    first = case.beginning()
    assert first == content[:CHUNK]
    assert (case.upload.channel is None) == (size <= CHUNK)
    chunks = case.pushed()
    assert first + b"".join(chunk["content"] for chunk in chunks) == content
    assert [chunk["more_content"] for chunk in chunks] == [True] * (len(chunks) - 1) + [False] * bool(chunks)
    assert [chunk.get("length") for chunk in chunks] == [None] * (len(chunks) - 1) + [size] * bool(chunks)
    assert len(chunks) == -(-size // CHUNK) - 1
    assert not case.upload.close()


def test_chunks_are_as_long_when_a_disk_gives_them_piece_by_piece(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case.context.disk.file, "read_cached", lambda extent, into: 0)
    content = os.urandom(4 * CHUNK + 1)
    case.upload.feed(content[:100_000])  # what is read back later begins inside of a chunk
    case.whole(content[100_000:])
    assert case.beginning() == content[:CHUNK]
    chunks = [chunk["content"] for chunk in case.pushed()]
    assert list(map(len, chunks)) == [CHUNK] * 3 + [1]
    assert b"".join(chunks) == content[CHUNK:]


def test_a_reader_gets_a_window_and_then_what_it_makes_room_for(case: Case) -> None:
    case.whole(bytes(8 * 1024 * 1024))
    case.beginning()
    size = CHUNK + sum(len(chunk["content"]) for chunk in case.pushed())
    assert size == WINDOW
    case.upload.read(CHUNK)
    case.upload.tick()
    assert CHUNK + sum(len(chunk["content"]) for chunk in case.pushed()) == WINDOW + CHUNK
    case.upload.tick()  # a reader that reports is taken at its word
    assert CHUNK + sum(len(chunk["content"]) for chunk in case.pushed()) == WINDOW + CHUNK
    assert case.upload.close()


def test_a_reader_that_reports_nothing_gets_everything_in_time(case: Case) -> None:
    content = os.urandom(5_000_000)
    case.whole(content)
    received = case.beginning()
    for _ in range(3):
        received = content[:CHUNK] + b"".join(chunk["content"] for chunk in case.pushed())
        case.upload.tick()
    assert received == content


def test_a_chunk_for_which_the_uplink_has_no_room_is_tried_again(case: Case) -> None:
    case.whole(bytes(600_000))
    case.beginning()
    case.context.records.accepts = False
    assert case.pushed() == []
    case.context.records.accepts = True
    case.upload.tick()
    assert sum(len(chunk["content"]) for chunk in case.pushed()) == 600_000 - CHUNK


def test_memory_stays_small_while_a_large_body_comes(case: Case) -> None:
    for _ in range(200):
        case.upload.feed(bytes(65_536))
        case.context.disk.work_off()
        assert case.context.disk.file.memory <= 2 * CHUNK
        assert not case.upload.is_behind


def test_a_client_waits_for_a_slow_disk(case: Case) -> None:
    case.upload.feed(bytes(2_000_000))
    assert case.upload.is_behind
    case.context.disk.work_off()
    assert not case.upload.is_behind
    assert case.moves


def test_the_last_chunk_is_not_the_last_until_it_is_stored(case: Case) -> None:
    case.whole(bytes(300_000))
    case.beginning()
    case.upload.push()
    case.context.disk.work_off()
    assert case.context.records.entries[-1].cancelled is False
    assert case.upload.close()
    assert case.context.records.entries[-1].cancelled is True


def test_a_streamed_body_touches_no_disk(tmp_path: Path) -> None:
    case = Case(tmp_path / "none", stream_bodies=True)
    case.upload.feed(bytes(CHUNK))
    assert not case.upload.is_due
    case.upload.feed(bytes(3 * CHUNK))
    assert case.upload.is_due
    assert case.upload.is_behind
    case.beginning()
    assert len(case.pushed()) == 3
    assert not case.upload.is_behind
    case.upload.complete = True
    assert case.pushed()[-1] == {"content": b"", "closed": False, "more_content": False, "length": 4 * CHUNK}
    assert case.upload.failure is None
