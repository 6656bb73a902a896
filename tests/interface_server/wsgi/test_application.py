"""An interface server inside a WSGI server: a validator, and gunicorn."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import importlib.util
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from channel_layer.delivery import Delivery
from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from channel_layer.sqlite import SqliteChannelLayer
from interface_server.http.rules import own_answer
from interface_server.options import Options
from interface_server.wsgi import ResponseCut, WsgiInterface, WsgiToAsgiAdapter
from tests.conftest import free_port, wait_until
from tests.interface_server.helpers import PARTS, Consumer, Workers, in_parts, respond

ROOT = Path(__file__).resolve().parents[3]
PLAIN = [[b"Content-Type", b"text/plain"]]
QUICK = {"http_timeout": 20}


class Asked:
    """What became of one request."""

    def __init__(self, head: tuple[str, list[tuple[str, str]]], body: bytes) -> None:
        self.status, self.headers, self.body = head[0], dict(head[1]), body


def ask(application: Any, method: str = "GET", body: bytes = b"", /, **environ: Any) -> Asked:
    """Call an application as a WSGI server does, under the eyes of the standard library's validator."""
    full: dict[str, Any] = {"REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": ""}
    full["wsgi.input"] = io.BytesIO(body)
    if body:
        full["CONTENT_LENGTH"] = str(len(body))
    full |= environ
    setup_testing_defaults(full)
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        started.append((status, headers))
        return lambda data: None

    response = validator(application)(full, start_response)
    try:
        content = b"".join(response)
    finally:
        response.close()  # type: ignore[attr-defined]
    return Asked(started[0], content)


@contextlib.contextmanager
def served(consumer: Consumer | None = None, layer: Any = None, **options: Any) -> Iterator[tuple[Any, Workers]]:
    layer = layer or MemoryChannelLayer()
    workers = Workers(layer, {"http.request": consumer or respond(headers=PLAIN)})
    application = WsgiInterface(layer, Options(**{**QUICK, **options}))
    yield application, workers
    application.close()
    workers.stop()


def stream(*chunks: bytes, closed: bool = False, **head: Any) -> Consumer:
    """A consumer that answers in chunks."""

    def consumer(workers: Workers, delivery: Delivery) -> None:
        message = {"status": 200, "headers": PLAIN, "content": b"", "more_content": True, **head}
        workers.send(delivery, message)
        for chunk in chunks:
            workers.send(delivery, {"content": chunk, "more_content": True})
        workers.send(delivery, {"content": b"", "more_content": closed, "closed": closed})

    return consumer


def test_a_request_is_answered_by_a_consumer() -> None:
    consumer = respond(b"hello", 201, [*PLAIN, [b"X-One", b"1"]])
    with served(consumer) as (application, workers):
        asked = ask(application, "POST", b"body", PATH_INFO="/page/", QUERY_STRING="a=1", HTTP_X_TWO="2")
        [request] = workers.on("http.request")
    assert (asked.status, asked.body) == ("201 Created", b"hello")
    assert asked.headers == {"Content-Type": "text/plain", "X-One": "1", "Content-Length": "5"}
    message = request.message
    assert (message["method"], message["path"], message["query_string"]) == ("POST", "/page/", b"a=1")
    assert message["body"] == b"body"
    assert "body_channel" not in message
    assert [b"x-two", b"2"] in message["headers"]
    assert request.headers is not None
    assert request.headers["flow"].startswith("http.response.flow?")
    assert workers.on("http.disconnect") == []


@pytest.mark.parametrize(("size", "terminated"), [(700_000, False), (524_288, False), (700_000, True), (100, True)])
def test_a_body_comes_in_chunks(size: int, terminated: bool) -> None:
    body = os.urandom(size)
    got: list[bytes] = []
    heads: list[Any] = []

    def consumer(workers: Workers, delivery: Delivery) -> None:
        heads.append(delivery.message["headers"])
        got.append(delivery.message["body"])
        channel = delivery.message.get("body_channel")
        while channel:
            for chunk in workers.layer.receive_batch([channel], 16, 20):
                got.append(chunk.message["content"])
                if not chunk.message["more_content"]:
                    channel = None
        workers.reply(delivery, {"status": 200, "headers": PLAIN, "content": b"thanks"})

    with served(consumer) as (application, _):
        if terminated:
            environ: dict[str, Any] = {"wsgi.input_terminated": True, "wsgi.input": io.BytesIO(body)}
            asked = ask(application, "POST", HTTP_TRANSFER_ENCODING="chunked", **environ)
        else:
            asked = ask(application, "POST", body)
    assert asked.body == b"thanks"
    assert b"".join(got) == body
    assert max(map(len, got)) <= 262_144
    assert [b"content-length", b"%d" % size] in heads[0]
    assert b"transfer-encoding" not in dict(heads[0])


def test_a_streamed_response_comes_as_it_is_made() -> None:
    with served(stream(b"one", b"", b"two")) as (application, workers):
        asked = ask(application)
        assert workers.on("http.disconnect") == []
    assert asked.body == b"onetwo"
    assert "Content-Length" not in asked.headers


def test_a_body_follows_what_its_reader_reports() -> None:
    body = os.urandom(6_000_000)

    def consumer(workers: Workers, delivery: Delivery) -> None:
        read, more = len(delivery.message["body"]), True
        while more:
            for chunk in workers.layer.receive_batch([delivery.message["body_channel"]], 16, 20):
                read += len(chunk.message["content"])
                more = chunk.message["more_content"]
            workers.send(delivery, {}, read=read)
        workers.reply(delivery, {"status": 200, "headers": PLAIN, "content": b"%d" % read})

    with served(consumer) as (application, _):
        assert ask(application, "POST", body).body == b"6000000"


def test_a_body_that_nobody_reads_is_a_504() -> None:
    with served(lambda workers, delivery: None, http_timeout=0.8) as (application, workers):
        assert ask(application, "POST", bytes(9_000_000)).status.startswith(("503", "504"))
        workers.wait_for("http.disconnect")


def test_a_client_that_goes_away_during_its_request_is_nobodys_business() -> None:
    with served(lambda workers, delivery: None) as (application, workers):
        asked = ask(application, "POST", CONTENT_LENGTH="600000", **{"wsgi.input": io.BytesIO(b"x" * 300_000)})
        assert asked.status == "400 Bad Request"
        assert workers.on("http.request") == []


def test_a_slow_client_holds_no_worker() -> None:
    produced = threading.Event()

    with served(in_parts(produced, PLAIN)) as (application, workers):
        environ: dict[str, Any] = {"REQUEST_METHOD": "GET"}
        setup_testing_defaults(environ)
        response = application(environ, lambda *args: None)
        assert produced.wait(20), "the worker waits for the client"
        assert b"".join(response) == b"".join(PARTS)
        response.close()
        assert workers.on("http.disconnect") == []


def test_an_answer_to_head_has_no_content() -> None:
    with served(respond(b"hello", headers=[*PLAIN, [b"Content-Length", b"5"]])) as (application, _):
        asked = ask(application, "HEAD")
    assert (asked.body, asked.headers["Content-Length"]) == (b"", "5")


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_content_has_none(status: int) -> None:
    with served(respond(b"ignored", status)) as (application, _):
        asked = ask(application)
    assert (asked.status[:3], asked.body) == (str(status), b"")


def test_fields_about_the_connection_stay_here() -> None:
    headers = [*PLAIN, [b"Connection", b"close"], [b"Transfer-Encoding", b"chunked"]]
    with served(respond(headers=headers)) as (application, _):
        assert set(ask(application).headers) == {"Content-Type", "Content-Length"}


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 99, "content": b""},
        {"status": 200, "headers": [[b"X", b"a\r\nSet-Cookie: x"]], "content": b""},
        {"status": 200, "headers": [[b"Content-Length", b"3"]], "content": b"four"},
        {"status": 200, "content": "text"},
        {"content": b"", "more_content": True, "closed": True},
    ],
)
def test_what_is_no_response_is_a_500(answer: dict[str, Any]) -> None:
    with served(lambda workers, delivery: workers.reply(delivery, answer)) as (application, workers):
        asked = ask(application)
        assert (asked.status, asked.body) == ("500 Internal Server Error", own_answer(500, 0)[1])
        workers.wait_for("http.disconnect")


def test_no_answer_in_time_is_a_504_and_the_consumer_is_told() -> None:
    with served(lambda workers, delivery: None, http_timeout=0.05) as (application, workers):
        asked = ask(application, PATH_INFO="/slow/")
        [gone] = workers.wait_for("http.disconnect")
        [request] = workers.on("http.request")
        assert request.headers is not None
        flow = request.headers["flow"]
        [report] = wait_until(lambda: workers.layer.receive_batch([flow], limit=10), "the report")
    assert asked.status == "504 Gateway Timeout"
    assert gone.message == {"reply_channel": request.message["reply_channel"], "path": "/slow/"}
    assert report.message == {"closed": True}


def test_a_full_channel_is_a_503() -> None:
    layer = MemoryChannelLayer(capacity=1)
    layer.send("http.request", {})
    application = WsgiInterface(layer, Options(retry_after=7))
    asked = ask(application)
    application.close()
    assert (asked.status, asked.headers["retry-after"]) == ("503 Service Unavailable", "7")
    assert asked.body == own_answer(503, 7)[1]


def test_a_layer_that_is_away_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = MemoryChannelLayer()

    def fail(items: Any) -> Any:
        raise LayerUnavailable("here", "gone")

    monkeypatch.setattr(layer, "send_batch", fail)
    application = WsgiInterface(layer)
    assert ask(application).status == "503 Service Unavailable"
    application.close()


@pytest.mark.parametrize(("method", "length"), [("POST", 2000), ("POST", 1001)])
def test_a_body_beyond_the_limit_is_a_413(method: str, length: int) -> None:
    with served(body_max=1000) as (application, workers):
        assert ask(application, method, b"x" * length).status.startswith("413 ")
        terminated: dict[str, Any] = {"wsgi.input_terminated": True, "wsgi.input": io.BytesIO(b"x" * length)}
        assert ask(application, method, **terminated).status.startswith("413 ")
        assert workers.on("http.request") == []


def test_a_client_that_goes_away_during_its_streamed_request_is_reported() -> None:
    with served(lambda workers, delivery: None, stream_bodies=True) as (application, workers):
        asked = ask(application, "POST", CONTENT_LENGTH="600000", **{"wsgi.input": io.BytesIO(b"x" * 300_000)})
        assert asked.status == "400 Bad Request"
        workers.wait_for("http.disconnect")
        [request] = workers.on("http.request")
        [chunk] = workers.layer.receive_batch([request.message["body_channel"]], 10, 5)
    assert chunk.message["closed"] is True


def test_a_server_that_stops_reading_tells_the_producer() -> None:
    with served(stream(b"one", b"two")) as (application, workers):
        environ: dict[str, Any] = {"REQUEST_METHOD": "GET"}
        setup_testing_defaults(environ)
        response = application(environ, lambda *args: None)
        assert next(iter(response)) == b"one"
        response.close()
        workers.wait_for("http.disconnect")


def test_a_server_that_does_not_take_the_head_gets_nothing_more() -> None:
    def refuse(*args: Any) -> Any:
        raise ValueError("no")

    with served(stream(b"one")) as (application, workers):
        environ: dict[str, Any] = {"REQUEST_METHOD": "GET"}
        setup_testing_defaults(environ)
        with pytest.raises(ValueError, match="no"):
            application(environ, refuse)
        workers.wait_for("http.disconnect")


@pytest.mark.parametrize(
    "consumer",
    [
        stream(b"one", closed=True),
        stream(b"one", headers=[*PLAIN, [b"Content-Length", b"2"]]),
        stream(b"one", headers=[*PLAIN, [b"Content-Length", b"9"]]),
    ],
    ids=["broken off", "too long", "too short"],
)
def test_a_response_that_cannot_be_completed_is_cut(consumer: Consumer) -> None:
    with served(consumer) as (application, workers):
        with pytest.raises(ResponseCut):
            ask(application)
        workers.wait_for("http.disconnect")


def test_a_stream_that_stands_still_is_cut() -> None:
    def consumer(workers: Workers, delivery: Delivery) -> None:
        workers.send(delivery, {"status": 200, "headers": PLAIN, "content": b"one", "more_content": True})

    with (
        served(consumer, http_timeout=0.05) as (application, _),
        pytest.raises(ResponseCut, match="no more of it came"),
    ):
        ask(application)


def test_many_threads_get_their_own_answers() -> None:
    def consumer(workers: Workers, delivery: Delivery) -> None:
        workers.reply(delivery, {"status": 200, "headers": PLAIN, "content": delivery.message["query_string"]})

    with served(consumer) as (application, _), concurrent.futures.ThreadPoolExecutor(20) as pool:
        found = pool.map(lambda number: ask(application, QUERY_STRING=str(number)).body, range(300))
        assert list(found) == [str(number).encode() for number in range(300)]


def test_it_has_the_name_it_had_before() -> None:
    assert WsgiToAsgiAdapter is WsgiInterface


# -- gunicorn ------------------------------------------------------------------------------------

PROJECT = """
import os
from channel_layer.sqlite import SqliteChannelLayer
from interface_server.wsgi import WsgiInterface
application = WsgiInterface(SqliteChannelLayer(path=os.environ["TEST_CHANNEL_FILE"]))
"""

needs_gunicorn = pytest.mark.skipif(
    importlib.util.find_spec("gunicorn") is None and not os.environ.get("CI"), reason="needs gunicorn"
)


@contextlib.contextmanager
def gunicorn(directory: Path, consumer: Consumer, *arguments: str) -> Iterator[tuple[int, Workers]]:
    """Two gunicorn processes in front of a thread that stands for the workers; gives the port."""
    (directory / "project_wsgi.py").write_text(PROJECT)
    file = directory / "layer.sqlite3"
    layer, port = SqliteChannelLayer(path=file), free_port()
    workers = Workers(layer, {"http.request": consumer})
    command = [sys.executable, "-m", "gunicorn", "project_wsgi:application", "--bind", f"127.0.0.1:{port}"]
    command += ["--workers", "2", "--threads", "4", *arguments]
    environment = os.environ | {"TEST_CHANNEL_FILE": str(file), "PYTHONPATH": f"{ROOT}{os.pathsep}{directory}"}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or _answers(port), "gunicorn", within=40)
        yield port, workers
        process.terminate()
        assert process.wait(40) == 0
    finally:
        print((directory / "log").read_text(errors="replace"))
        process.kill()
        process.wait()
        workers.stop()
        layer.close()


def _answers(port: int) -> bool:
    try:
        return request(port)[0] == 200
    except OSError:
        return False


def request(port: int, method: str = "GET", body: Any = None, **fields: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, "/", body, fields, encode_chunked=not isinstance(body, (bytes, type(None))))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def describing(workers: Workers, delivery: Delivery) -> None:
    """Answer with the size of the body, and the names of the fields, streamed."""
    size, channel = len(delivery.message["body"]), delivery.message.get("body_channel")
    while channel:
        for chunk in workers.layer.receive_batch([channel], 16, 20):
            size += len(chunk.message["content"])
            if not chunk.message["more_content"]:
                channel = None
    names = b",".join(name for name, _ in delivery.message["headers"])
    workers.send(delivery, {"status": 200, "headers": PLAIN, "content": b"%d " % size, "more_content": True})
    workers.send(delivery, {"content": names, "more_content": False})


@needs_gunicorn
@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--preload"]], ids=["plain", "preload"])
def test_gunicorn_serves_requests_over_the_layer(tmp_path: Path, arguments: list[str]) -> None:
    with gunicorn(tmp_path, describing, *arguments) as (port, _):
        chunks = [b"x" * 100_000] * 7
        headers = {"Transfer-Encoding": "chunked", "X_Forwarded_User": "root", "X-Good": "1"}
        status, text = request(port, "POST", iter(chunks), **headers)
        assert status == 200
        size, _, names = text.partition(b" ")
        assert size == b"700000"
        assert b"x-good" in names
        assert b"user" not in names
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda number: request(port, "POST", b"y" * number)[1], range(40)))
        assert [int(text.split()[0]) for text in found] == list(range(40))


@needs_gunicorn
@pytest.mark.slow
def test_a_client_that_leaves_gunicorn_is_reported(tmp_path: Path) -> None:
    def endless(workers: Workers, delivery: Delivery) -> None:
        if delivery.message["method"] == "GET":
            workers.reply(delivery, {"status": 200, "headers": PLAIN, "content": b"here"})
            return
        workers.send(delivery, {"status": 200, "headers": PLAIN, "content": b"x", "more_content": True})
        while not workers.layer.receive_batch([(delivery.headers or {})["flow"]], 1, 0.05):
            workers.send(delivery, {"content": b"x" * 1000, "more_content": True})

    with gunicorn(tmp_path, endless) as (port, workers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/")
        assert connection.getresponse().read(1) == b"x"
        connection.close()
        workers.wait_for("http.disconnect")
