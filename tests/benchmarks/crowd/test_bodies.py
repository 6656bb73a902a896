"""Tests of benchmarks.crowd.bodies."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from benchmarks.crowd.bodies import CHUNK, blocks, download, summed, upload
from benchmarks.crowd.sockets import LoadError

SIZE = 2 * CHUNK + 17


class Handler(BaseHTTPRequestHandler):
    """Does what the project's views do; loses a byte of what is asked for below /broken/."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(f"{len(body)} {zlib.crc32(body):08x}".encode())

    def do_GET(self) -> None:
        self._answer(b"".join(blocks(int(self.path.partition("=")[2]))))

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body[1:] if self.path.startswith("/broken/") else body)


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.02])
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_blocks_differ_and_add_up_to_the_size() -> None:
    body = b"".join(blocks(SIZE))
    assert len(body) == SIZE
    assert body[:CHUNK] != body[CHUNK : 2 * CHUNK]
    assert summed(blocks(SIZE)) == f"{SIZE} {zlib.crc32(body):08x}"


def test_a_body_goes_up_and_comes_down(port: int) -> None:
    assert upload("127.0.0.1", port, "/", SIZE) > 0
    assert download("127.0.0.1", port, "/", SIZE) > 0


@pytest.mark.parametrize("transfer", [upload, download])
def test_a_body_that_is_not_whole_is_noticed(port: int, transfer: object) -> None:
    assert callable(transfer)
    with pytest.raises(LoadError):
        transfer("127.0.0.1", port, "/broken/", SIZE)
