"""Large uploads and downloads through a real server and worker; the server's memory stays flat."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.end_to_end.processes import Project
from tests.fixtures.files_project.urls import BLOCK, MEBIBYTE

pytestmark = pytest.mark.slow

UPLOAD = 32 * MEBIBYTE
DOWNLOAD = 50 * MEBIBYTE
ROOM_ON_REDIS = 12 * MEBIBYTE
"""Less than any of the files. Parts on their way, 2 MiB of them, stand in memory as they came from the layer, as
messages, and as what is written: 1 to 4 MiB more were measured, with files of 200 MB as well."""
ROOM_ON_SQLITE = 16 * MEBIBYTE
"""SQLite keeps 2 MB of pages for each of two connections besides, and makes a copy of a part as it takes it from them.
Up to 11 MiB more were measured, with files of 200 MB and on a busy machine as well."""
BOUNDARY = "a-line-that-is-in-no-file"


@pytest.fixture(scope="module")
def files(broker: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project being served, warm: it has answered once."""
    with Project("tests.fixtures.files_project", tmp_path_factory.mktemp("files"), broker, workers=1) as project:
        yield project


@pytest.fixture
def flat_memory(files: Project, broker: dict[str, str]) -> Iterator[None]:
    """Compare the web server's highest memory during the test with what it had before."""
    room = ROOM_ON_REDIS if broker["REDIS_URL"] else ROOM_ON_SQLITE
    Path(f"/proc/{files.web.running.pid}/clear_refs").write_text("5")  # sets VmHWM back to VmRSS
    before = files.web.memory("VmRSS")
    yield
    grown = files.web.memory("VmHWM") - before
    assert grown < room, f"daphne grew by {grown / MEBIBYTE:.1f} MiB"


@pytest.fixture
def connection(files: Project) -> Iterator[http.client.HTTPConnection]:
    """A connection of its own for each test."""
    connection = http.client.HTTPConnection("127.0.0.1", files.port, timeout=60)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def content() -> bytes:
    """Bytes that cannot be compressed, so that a part out of place is noticed."""
    return os.urandom(UPLOAD)


def expect_described(response: http.client.HTTPResponse, content: bytes) -> None:
    assert response.status == 200, response.read()
    assert json.loads(response.read()) == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.both_brokers
@pytest.mark.usefixtures("flat_memory")
def test_a_file_of_32_mb_uploaded_with_a_form_arrives_whole(
    connection: http.client.HTTPConnection, content: bytes
) -> None:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'.encode()
    body = head + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    connection.request("POST", "/upload/form/", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
    expect_described(connection.getresponse(), content)


@pytest.mark.usefixtures("flat_memory")
def test_a_chunked_body_of_32_mb_can_be_read_as_a_stream(
    connection: http.client.HTTPConnection, content: bytes
) -> None:
    chunks = (content[start : start + 100_000] for start in range(0, len(content), 100_000))
    headers = {"Content-Type": "application/octet-stream"}
    connection.request("POST", "/upload/body/", chunks, headers, encode_chunked=True)
    expect_described(connection.getresponse(), content)


@pytest.mark.usefixtures("flat_memory")
def test_a_streamed_download_of_50_mb_arrives_whole_to_a_client_that_takes_its_time(
    connection: http.client.HTTPConnection, files: Project
) -> None:
    connection.request("GET", "/streamed/50/")
    response = connection.getresponse()
    assert response.status == 200
    assert response.readline() == b"first\n"
    # While this client reads nothing, the server answers others and does not take the whole of it in.
    for _ in range(20):
        files.wait_for_page()
    expected, got = hashlib.sha256(BLOCK * (DOWNLOAD // len(BLOCK))), hashlib.sha256()
    for part in iter(lambda: response.read(65536), b""):
        got.update(part)
    assert got.hexdigest() == expected.hexdigest()


@pytest.mark.usefixtures("flat_memory")
def test_a_file_of_50_mb_arrives_whole(connection: http.client.HTTPConnection, tmp_path: Path) -> None:
    content = os.urandom(DOWNLOAD)
    (tmp_path / "large").write_bytes(content)
    connection.request("GET", "/file/?" + urlencode({"path": str(tmp_path / "large")}))
    response = connection.getresponse()
    assert (response.status, response.getheader("Content-Length")) == (200, str(DOWNLOAD))
    assert hashlib.sha256(response.read()).digest() == hashlib.sha256(content).digest()


def test_a_download_that_the_client_breaks_off_leaves_the_server_working(files: Project) -> None:
    for _ in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", files.port, timeout=60)
        connection.request("GET", "/streamed/50/")
        connection.getresponse().read(1000)
        connection.close()
    files.wait_for_page()
