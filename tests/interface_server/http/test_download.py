"""The body of a response, from its producer to a slow client."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interface_server.http.download import HIGH_WATER, IN_FLIGHT, KEPT, LARGE_PIECE, PIECE, PROVEN_BYTES, Download
from interface_server.options import Options
from interface_server.spool.file import BLOCK, SpoolFile
from interface_server.spool.spool import LEAST
from tests.interface_server.fakes import FakeWriter, HandSpools


class Client(FakeWriter):
    """A connection that takes a little at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.content = b""
        self.is_over = False

    def write(self, content: bytes, more: bool) -> None:
        assert not self.is_over
        self.content += content
        self.waiting += len(content)
        self.is_over = not more


class Case:
    """A response, its client and the disk."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.file = SpoolFile(str(directory), 64 * BLOCK, 1 << 30)
        self.disk = HandSpools(self.file)
        self.client = Client()
        self.download = Download(self.disk, Options(**options), self.client, self._moved)  # type: ignore[arg-type]

    def _moved(self) -> None:
        self.download.pump()

    def read(self) -> None:
        """The client takes all that its connection holds."""
        self.client.waiting = 0
        self.download.pump()
        self.disk.work_off()


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case(tmp_path)
    yield made
    made.download.close()
    made.disk.work_off()
    assert (made.file.used, made.file.memory) == (0, 0)
    made.file.close()


def test_what_the_client_takes_at_once_touches_no_disk(case: Case) -> None:
    for number in range(10):
        case.download.put(bytes([number]) * 524_288, number < 9)
        while case.download._spool.size:
            case.client.waiting = 0
            case.download.pump()
    assert case.client.content == b"".join(bytes([number]) * 524_288 for number in range(10))
    assert case.download.is_over
    assert case.file._file == -1


def test_a_slow_client_costs_disk_and_the_producer_goes_on(case: Case) -> None:
    content = os.urandom(10_000_000)
    reported = 0
    for start in range(0, len(content), 500_000):
        case.download.put(content[start : start + 500_000], True)
        case.disk.work_off()
        reported = case.download.report() or reported
        assert case.download.problem() is None
    assert reported >= len(content) - 600_000
    assert len(case.client.content) <= HIGH_WATER + LARGE_PIECE
    assert case.file.memory <= KEPT
    case.download.put(b"", False)
    while not case.download.is_over:
        case.read()
    assert case.client.content == content
    assert case.client.is_over


def test_reports_are_few_and_leave_room_for_the_longest_message(case: Case) -> None:
    longest = 1_310_720
    reports, sent, last = 0, 0, 0
    for size in [65_536] * 160 + [524_288] * 20 + [65_536] * 11 + [longest] * 3:
        assert sent + size - last <= IN_FLIGHT, "its producer would wait, and nobody would report any more"
        case.download.put(bytes(size), True)
        case.read()
        sent += size
        reported = case.download.report()
        if reported is not None:
            reports, last = reports + 1, reported
    assert reports <= 13 + 10 + 1 + 3


def test_while_anybody_is_slow_connections_get_less_at_a_time(case: Case) -> None:
    case.download.put(bytes(1_000_000), True)
    assert case.client.waiting == LARGE_PIECE
    [block] = case.file.take(1)
    case.client.waiting = 0
    case.download.pump()
    assert case.client.waiting == 2 * PIECE
    case.file.give_back([block])


def test_a_client_that_has_kept_up_gets_whole_parts_until_somebody_is_slow(case: Case) -> None:
    part = bytes(500_000)
    given = []
    for taken in (False, True, True, False, True):
        before = len(case.client.content)
        case.download.put(part, True)
        given.append(len(case.client.content) - before)
        while taken and (case.client.waiting or case.download._spool.size):
            case.read()
    assert case.download.given - 500_000 >= PROVEN_BYTES
    assert given[:2] == [LARGE_PIECE, 0], "the second waits behind the first"
    assert given[3] == 500_000, "it has kept up"
    assert given[4] == 0, "the one before waits with the connection"
    [block] = case.file.take(1)
    before = len(case.client.content)
    case.download.put(part, True)
    assert len(case.client.content) - before < 3 * PIECE
    case.file.give_back([block])


def test_a_client_that_takes_nothing_for_a_while_has_next_to_nothing_in_memory(case: Case) -> None:
    case.download.put(bytes(500_000), True)
    assert not case.download.has_moved()
    case.disk.work_off()
    assert case.file.memory == LEAST
    case.read()
    assert case.download.has_moved()


def test_at_the_limit_the_producer_waits_for_the_client(tmp_path: Path) -> None:
    case = Case(tmp_path, response_spool=4_000_000)
    sent = last = 0
    while sent - last < IN_FLIGHT:
        case.download.put(bytes(500_000), True)
        case.disk.work_off()
        sent += 500_000
        last = case.download.report() or last
    assert sent <= 4_000_000 + 100_000
    assert case.download.problem() is None
    while (reported := case.download.report()) is None:
        case.read()
    assert reported == sent
    case.download.put(bytes(5_000_000), True)
    assert case.download.problem() is not None
    case.download.close()
    case.disk.work_off()
    case.file.close()


def test_while_the_disk_is_full_the_producer_waits_and_later_goes_on(tmp_path: Path) -> None:
    case = Case(tmp_path)
    everything = case.file.take(64)
    content = os.urandom(3_000_000)
    case.download.put(content, True)
    case.disk.work_off()
    assert case.download.failure is not None
    assert case.download.report() is None
    case.file.give_back(everything)
    assert not case.download.has_moved()
    case.disk.work_off()
    assert case.download.report() == len(content)
    case.download.put(b"", False)
    while not case.download.is_over:
        case.read()
    assert case.client.content == content
    case.file.close()


def test_what_is_in_memory_is_limited_by_itself(tmp_path: Path) -> None:
    case = Case(tmp_path, response_buffer=2_000_000)
    case.download.put(bytes(2_200_000), True)
    assert case.download.problem() == "its producer does not wait for the client"
    case.disk.work_off()
    assert case.download.problem() is None
    case.download.close()
    case.disk.work_off()
    case.file.close()


def test_a_response_that_cannot_be_read_again_is_given_up(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(extent: Any) -> bytes:
        raise OSError(5, "input/output error")

    case.download.put(bytes(2_000_000), True)
    case.disk.work_off()
    monkeypatch.setattr(case.file, "read", fail)
    monkeypatch.setattr(case.file, "read_cached", lambda extent, into: 0)
    case.client.waiting = 0
    case.download.pump()
    case.disk._waiting[0][1].run()
    case.disk._waiting[0][0].done(case.disk._waiting.popleft()[1])
    assert case.download.problem() == "what was spooled of it cannot be read again"


def test_nothing_is_written_twice_at_the_end(case: Case) -> None:
    case.download.put(b"", True)
    case.download.put(b"", False)
    assert case.client.is_over
    assert case.download.is_over
