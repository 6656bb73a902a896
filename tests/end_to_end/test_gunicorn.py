"""A Django project whose interface server is gunicorn, over each layer."""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.end_to_end.processes import Project, Service
from tests.end_to_end.test_files import DOWNLOAD, UPLOAD, expect_described
from tests.fixtures.files_project.urls import BLOCK

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("gunicorn") is None and not os.environ.get("CI"), reason="needs gunicorn"
    ),
]


@pytest.fixture(
    scope="module", params=[[], pytest.param(["--preload"], marks=pytest.mark.slow)], ids=["plain", "preload"]
)
def files(
    broker: dict[str, str], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Project]:
    """The project, served by two gunicorn processes and one worker."""
    directory = tmp_path_factory.mktemp("gunicorn")
    project = Project("tests.fixtures.files_project", directory, broker, workers=1)
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "tests.fixtures.files_project.wsgi",
        "--workers",
        "2",
        "--threads",
        "4",
    ]
    command += ["--bind", f"127.0.0.1:{project.port}", *request.param]
    # What gunicorn warns of is its own.
    environment = project.environment | {"PYTHONWARNINGS": "default"}
    project.web = Service("web", command, environment, directory)
    with project:
        yield project
        project.web.stop()
        project.stop_workers()


@pytest.fixture
def connection(files: Project) -> Iterator[http.client.HTTPConnection]:
    """A connection of its own for each test."""
    connection = http.client.HTTPConnection("127.0.0.1", files.port, timeout=60)
    yield connection
    connection.close()


def test_a_body_of_32_mb_arrives_whole(connection: http.client.HTTPConnection) -> None:
    content = os.urandom(UPLOAD)
    connection.request("POST", "/upload/body/", content, {"Content-Type": "application/octet-stream"})
    expect_described(connection.getresponse(), content)


def test_a_streamed_download_of_50_mb_arrives_whole(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/streamed/50/")
    response = connection.getresponse()
    assert response.readline() == b"first\n"
    expected, got = hashlib.sha256(BLOCK * (DOWNLOAD // len(BLOCK))), hashlib.sha256()
    for part in iter(lambda: response.read(65536), b""):
        got.update(part)
    assert got.hexdigest() == expected.hexdigest()


def test_a_download_that_is_broken_off_leaves_all_working(files: Project) -> None:
    for _ in range(4):
        connection = http.client.HTTPConnection("127.0.0.1", files.port, timeout=60)
        connection.request("GET", "/streamed/50/")
        connection.getresponse().read(1000)
        connection.close()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: files.wait_for_page(), range(40)))
