"""Lines for a pipe that nobody reads, a full disk, and a file that is rotated; alone and behind ``daphne``."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from interface_server.logs import line_writer
from interface_server.logs.line_writer import LIMIT, File, LineWriter, sink_of
from tests.conftest import wait_until
from tests.interface_server.helpers import read_all
from tests.interface_server.test_cli import HOUSE, daphne, project

__all__ = ["project"]

LONG = "/" + "x" * 4_000


def ask_often(port: int, count: int, path: str = LONG) -> None:
    """So many requests on one connection, each answered."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.settimeout(30)
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        for _ in range(count):
            connection.sendall(request)
            assert connection.recv(8_192).startswith(b"HTTP/1.1 200")
        connection.sendall(request.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        assert read_all(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("verbosity", ["1", "2"])
def test_a_server_whose_output_nobody_reads_goes_on(project: Path, verbosity: str) -> None:
    count = 600
    with daphne(project, "project:layer", "-v", verbosity) as (process, port):
        ask_often(port, count)
        assert process.stdout is not None
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0
    written = output.count("GET /xxx")
    assert 65_536 // len(LONG) <= written < count, "more than the pipe and the writer hold"
    assert written > LIMIT // 5_000
    if verbosity == "1":
        [dropped] = re.findall(r"the access log takes lines again; (\d+) were dropped", errors)
        assert written + int(dropped) == count + 1


def test_a_server_ends_though_nobody_reads_to_the_end(project: Path) -> None:
    with daphne(project, "project:layer") as (process, port):
        ask_often(port, 50)
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0


def test_a_full_disk_costs_lines_and_one_complaint(project: Path) -> None:
    log = project / "access.log"
    log.symlink_to("/dev/full")
    with daphne(project, "project:layer", "--access-log", "access.log") as (process, port):
        ask_often(port, 20, "/lost")
        assert process.stderr is not None
        said = "the access log access.log cannot be written: No space left on device; lines are dropped until it can"
        assert said in process.stderr.readline()
        log.unlink()
        log.touch()

        def arrives() -> str:
            ask_often(port, 1, "/kept")
            return log.read_text()

        wait_until(arrives, "lines")
        assert "the access log access.log takes lines again; " in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert "cannot be written" not in process.communicate(timeout=40)[1]
        assert {line.split()[6] for line in log.read_text().splitlines()} == {"/kept"}


class FullDisk:
    """A sink without room, until there is some."""

    def __init__(self) -> None:
        self.room = False
        self.written = b""
        self.refused = 0

    def write(self, data: bytes) -> None:
        if not self.room:
            self.refused += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        self.written += data

    def close(self) -> None:
        pass


def test_it_says_once_that_it_fails_and_once_that_it_works_again(caplog: pytest.LogCaptureFixture) -> None:
    disk = FullDisk()
    writer = LineWriter(disk, "the log")
    for number in range(3):
        writer.write(f"lost {number}\n")
        writer.flush(20)
    disk.room = True
    writer.write("kept\n")
    writer.close()
    assert disk.refused == 3
    assert disk.written == b"kept\n"
    assert caplog.messages == [
        "the log cannot be written: No space left on device; lines are dropped until it can",
        "the log takes lines again; 3 were dropped",
    ]


def test_a_line_that_a_full_disk_has_torn_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    writer = LineWriter(File(str(path)), "the log")
    real = os.write
    room = [6, 0]

    def write(descriptor: int, data: bytes) -> int:
        if not room:
            return real(descriptor, data)
        size = room.pop(0)
        if not size:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, bytes(data)[:size])

    monkeypatch.setattr(line_writer.os, "write", write)
    for line in ("torn here\n", "whole\n"):
        writer.write(line)
        writer.flush(20)
    writer.close()
    assert path.read_text() == "torn h\nwhole\n"


def test_a_reader_that_is_gone_is_the_end_of_it(caplog: pytest.LogCaptureFixture) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        writer = LineWriter(sink_of(stream), "the log")
        writer.write("x\n")
        writer.flush(20)
        assert writer.ended
        writer.close()
    assert caplog.messages == ["the log cannot be written: Broken pipe; this is its end"]


def test_a_descriptor_that_does_not_wait_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    got: list[bytes] = []

    def read() -> None:
        with os.fdopen(reading, "rb") as stream:
            got.append(stream.read())

    with os.fdopen(writing, "w") as stream:
        writer = LineWriter(sink_of(stream), "the log")
        for _ in range(100):
            writer.write("x" * 9_999 + "\n")
        writer.flush(0.01)
        reader = threading.Thread(target=read)
        reader.start()
        writer.flush(20)
        writer.close()
    reader.join(20)
    assert got == [(b"x" * 9_999 + b"\n") * 100]


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_writer, "_LOOK_SECONDS", 0)
    path = tmp_path / "log"
    writer = LineWriter(File(str(path)), "the log")
    writer.write("before\n")
    writer.flush(20)
    path.rename(tmp_path / "log.1")
    writer.write("after\n")
    writer.close()
    wait_until(lambda: path.exists() and path.read_text() == "after\n")
    assert (tmp_path / "log.1").read_text() == "before\n"


def test_a_stream_without_a_descriptor_is_written_to() -> None:
    stream = io.StringIO()
    writer = LineWriter(sink_of(stream), "the log")
    writer.write("é\udcff\n")
    writer.close()
    assert stream.getvalue() == "é\\udcff\n"


def test_a_forked_process_writes_lines_of_its_own() -> None:
    program = (
        "import os, sys; from interface_server.logs.line_writer import LineWriter, sink_of\n"
        "writer = LineWriter(sink_of(sys.stdout), 'the log')\n"
        "writer.write('parent\\n'); writer.flush(20)\n"
        "child = os.fork()\n"
        "writer.write('child\\n' if not child else 'parent again\\n'); writer.flush(20)\n"
        "child and os.waitpid(child, 0)\n"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=HOUSE, capture_output=True, text=True, timeout=60)
    assert sorted(found.stdout.splitlines()) == ["child", "parent", "parent again"], found.stderr


def test_what_is_written_last_comes_out_at_the_end() -> None:
    program = (
        "import sys; from interface_server.logs.line_writer import LineWriter, sink_of\n"
        "LineWriter(sink_of(sys.stdout), 'the log', 0.02).write('last\\n')\n"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=HOUSE, capture_output=True, text=True, timeout=60)
    assert found.stdout == "last\n"
