"""`channels.http.streaming`: responses that need no thread while they wait, from a real worker."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core import signals
from django.core.files.base import ContentFile, File
from django.db import connection
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import get_urlconf, path

from channel_layer.delivery import Delivery
from channels.handler import ViewConsumer
from channels.http.flow import BROKEN_OFF, MAX_IN_FLIGHT
from channels.http.streaming import ResponseStream, file_behind
from channels.runtime.hooks import DjangoHook
from channels.runtime.sync_threads import SyncThreads
from channels.test import Client
from routing import Router, route
from tests.conftest import wait_until
from tests.workers import tools
from workers import Worker

from ..messages import request as make_request

events: list[str] = []
gates: dict[str, threading.Event] = {}


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(get_urlconf()))


def quiet(request: HttpRequest) -> StreamingHttpResponse:
    """Says one word and waits for its end."""

    async def parts() -> AsyncIterator[str]:
        events.append(f"begun on {threading.current_thread().name}")
        try:
            yield "hello"
            events.append("waits")
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise
        finally:
            events.append("ended")

    response = StreamingHttpResponse(parts(), content_type="text/event-stream")
    response._resource_closers.append(lambda: events.append("closed"))
    return response


def silent(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        await asyncio.sleep(3600)
        yield ""

    return StreamingHttpResponse(parts())


def stubborn(request: HttpRequest) -> StreamingHttpResponse:
    """Does not let itself be cancelled, and goes on."""

    async def parts() -> AsyncIterator[str]:
        try:
            yield "a"
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
            yield "b"
            await asyncio.sleep(3600)
        finally:
            events.append("ended")

    return StreamingHttpResponse(parts())


def large(request: HttpRequest) -> StreamingHttpResponse:
    """Sixteen times 512 KiB, each noted."""

    async def parts() -> AsyncIterator[bytes]:
        for number in range(16):
            events.append(f"part {number}")
            yield b"%x" % number * 524_288

    return StreamingHttpResponse(parts())


def failing(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[bytes]:
        for part in request.GET["first"]:
            yield part.encode()
        raise RuntimeError("the source broke")

    return StreamingHttpResponse(parts())


def break_connection() -> None:
    """Do to the thread's connection what a restart of the database does. SQLite's never say so of themselves."""
    connection.ensure_connection()
    connection.connection.close()
    connection.is_usable = lambda: False  # type: ignore[method-assign]


def queries(request: HttpRequest) -> StreamingHttpResponse:
    """Queries for each part, and breaks its connection behind the parts that the query names."""

    async def parts() -> AsyncIterator[str]:
        for number in range(3):
            try:
                yield f"{await User.objects.acount()};"
            except Exception as error:
                events.append(type(error).__name__)
                yield "failed;"
            if str(number) in request.GET.get("break", ""):
                await sync_to_async(break_connection)()

    return StreamingHttpResponse(parts())


async def asynchronous(request: HttpRequest) -> HttpResponse:
    if "break" in request.GET:
        await sync_to_async(break_connection)()
    return HttpResponse(str(await User.objects.acount()))


def rows(request: HttpRequest) -> StreamingHttpResponse:
    """A table row by row, with the cursor open meanwhile."""

    async def parts() -> AsyncIterator[str]:
        async for user in User.objects.order_by("username").aiterator(chunk_size=1):
            yield user.username
            await sync_to_async(gates["rows"].wait)(20)

    return StreamingHttpResponse(parts())


opened: list[Any] = []


def from_file(request: HttpRequest) -> FileResponse:
    opened.append(open(request.GET["path"], "rb"))  # noqa: SIM115 - the response closes it
    return FileResponse(opened[-1])


def switching(request: HttpRequest) -> StreamingHttpResponse:
    """With another URLconf, as a middleware may choose one for each host."""
    from django.urls import set_urlconf

    set_urlconf("tests.channels.urls")
    return quiet(request)


urlpatterns = [
    path("plain/", plain),
    path("quiet/", quiet),
    path("silent/", silent),
    path("stubborn/", stubborn),
    path("large/", large),
    path("failing/", failing),
    path("queries/", queries),
    path("asynchronous/", asynchronous),
    path("rows/", rows),
    path("file/", from_file),
    path("switching/", switching),
]


class Connection:
    """A client's connection, as its interface server has it.

    Attributes:
        received: what has come for it.
    """

    numbers = itertools.count(1)

    def __init__(self, layer: Any, path: str, **content: Any) -> None:
        self.layer = layer
        self.received: list[Delivery] = []
        # Each reads a process-specific channel of its own.
        self.reader = f"daphne.{next(self.numbers)}!"
        message = make_request(layer, path, reply_channel=self.reader + "x", **content)
        assert not layer.send_batch([layer.prepare("http.request", message.content, {"flow": "http.response.flow?x"})])

    def look(self) -> list[Delivery]:
        while batch := self.layer.receive_batch([self.reader], limit=100):
            self.received += batch
        return self.received

    def wait_for(self, count: int) -> list[Delivery]:
        return wait_until(lambda: self.look() if len(self.look()) >= count else None, f"{count} messages")

    def wait_for_end(self) -> bytes:
        wait_until(lambda: self.look() and not self.received[-1].message["more_content"], "the end of the response")
        return self.content

    @property
    def content(self) -> bytes:
        return b"".join(delivery.message["content"] for delivery in self.look())

    def report(self, **report: Any) -> None:
        [first, *_] = self.wait_for(1)
        self.layer.send((first.headers or {})["flow"], report)


@contextlib.contextmanager
def working(layer: Any, threads: int = 1, grace: float = 0.5, **options: Any) -> Iterator[Worker]:
    events.clear()
    router = Router([route("http.request", ViewConsumer())])
    options |= {"threads": threads, "grace": grace, "hooks": [DjangoHook()], "sync_side": SyncThreads(1)}
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[]), tools.working(layer, router, **options) as worker:
        yield worker


@pytest.fixture
def finished() -> Iterator[list[str]]:
    """Notes each `request_finished` among the events."""

    def receiver(**kwargs: Any) -> None:
        events.append("finished")

    signals.request_finished.connect(receiver)
    yield events
    signals.request_finished.disconnect(receiver)


def is_alive(layer: Any) -> bool:
    """Whether the worker answers a plain view."""
    return Connection(layer, "/plain/").wait_for_end() == __name__.encode()


def test_quiet_ones_keep_neither_threads_nor_places_nor_messages_waiting(layer: Any) -> None:
    with working(layer, async_tasks=1):
        streams = [Connection(layer, "/quiet/") for _ in range(50)]
        for stream in streams:
            [first] = stream.wait_for(1)
            assert (first.message["status"], first.message["content"]) == (200, b"hello")
        assert is_alive(layer)
        wait_until(lambda: events.count("waits") == len(streams), "all to wait")
        assert set(events) == {"begun on worker-async", "waits"}


def test_when_its_client_leaves_it_is_cancelled_while_it_waits_and_everything_ends(
    layer: Any, finished: list[str]
) -> None:
    with working(layer, grace=30):
        stream = Connection(layer, "/quiet/")
        wait_until(lambda: "waits" in finished, "it to wait")
        stream.report(closed=True)
        wait_until(lambda: "finished" in finished, "the end")
        assert finished == ["begun on worker-async", "waits", "cancelled", "ended", "closed", "finished"]
        assert is_alive(layer)
    assert len(stream.look()) == 1


def test_one_that_does_not_let_itself_be_cancelled_ends_with_its_next_part(layer: Any) -> None:
    with working(layer, grace=30):
        stream = Connection(layer, "/stubborn/")
        stream.report(closed=True)
        wait_until(lambda: events == ["ended"], "the end")
        assert stream.content == b"a"


def test_the_generator_is_not_advanced_while_a_window_is_under_way(layer: Any) -> None:
    with working(layer):
        stream = Connection(layer, "/large/")
        stream.wait_for(MAX_IN_FLIGHT // 524_288)
        wait_until(lambda: len(events) > MAX_IN_FLIGHT // 524_288, "the part behind the window")
        assert is_alive(layer)
        assert len(events) == MAX_IN_FLIGHT // 524_288 + 1
        for written in range(524_288, 16 * 524_288, 524_288):
            stream.report(written=written)
        content = stream.wait_for_end()
    assert content == b"".join(b"%x" % number * 524_288 for number in range(16))


def test_one_that_says_nothing_is_accepted_all_the_same(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channels.http.streaming.ANNOUNCE_SECONDS", 0.05)
    with working(layer):
        [first] = Connection(layer, "/silent/").wait_for(1)
    assert (first.message["status"], first.message["content"], first.message["more_content"]) == (200, b"", True)
    assert first.headers
    assert first.headers["flow"].startswith("worker.")


@pytest.mark.parametrize(
    ("first", "status", "last"), [("", 500, b"Internal Server Error\n"), ("ab", 200, BROKEN_OFF["content"])]
)
def test_an_error_before_the_first_part_is_a_500_and_later_breaks_it_off(
    layer: Any, caplog: pytest.LogCaptureFixture, first: str, status: int, last: bytes
) -> None:
    with working(layer):
        stream = Connection(layer, "/failing/", query=f"first={first}")
        wait_until(lambda: "the source broke" in caplog.text, "the log")
        replies = [delivery.message for delivery in stream.wait_for(len(first) + 1)]
        assert is_alive(layer)
    assert (replies[0]["status"], replies[-1]["content"]) == (status, last)
    assert bool(replies[-1].get("closed")) == bool(first)


def test_when_the_worker_stops_it_is_broken_off(layer: Any, finished: list[str]) -> None:
    with working(layer, grace=0.2):
        stream = Connection(layer, "/quiet/")
        stream.wait_for(1)
    assert stream.look()[-1].message == BROKEN_OFF
    assert finished[-3:] == ["ended", "closed", "finished"]


def test_beyond_the_limit_the_answer_is_503_and_the_response_is_closed(layer: Any, finished: list[str]) -> None:
    with working(layer, streams=1):
        Connection(layer, "/quiet/")
        wait_until(lambda: "waits" in finished, "it to wait")
        refused = Connection(layer, "/quiet/")
        refused.wait_for_end()
        assert refused.received[0].message["status"] == 503
        assert finished == ["begun on worker-async", "waits", "closed", "finished"]


def test_the_urlconf_of_a_request_does_not_outlive_it_in_the_thread(layer: Any) -> None:
    seen: list[Any] = []

    def look(message: Any) -> None:
        seen.append(get_urlconf())

    with working(layer) as worker:
        worker._runner._router = Router([route("http.request", ViewConsumer()), route("look", look)])
        worker._fetcher._channels.append("look")
        Connection(layer, "/switching/").wait_for(1)
        layer.send("look", {})
        wait_until(lambda: seen, "the look")
    assert seen == [None]


class TestQueries:
    def test_a_connection_that_broke_is_replaced_for_the_next_stream_and_the_next_part(
        self, layer: Any, database: None
    ) -> None:
        connection.settings_dict["CONN_MAX_AGE"] = None
        try:
            with working(layer):
                found = [
                    Connection(layer, "/queries/", query=f"break={numbers}").wait_for_end()
                    for numbers in ("", "2", "", "", "0", "")
                ]
        finally:
            connection.settings_dict["CONN_MAX_AGE"] = 0
        assert found == [b"0;0;0;", b"0;0;0;", b"failed;0;0;", b"0;0;0;", b"0;failed;0;", b"0;0;0;"]

    def test_an_async_view_uses_the_connections_of_its_thread(self, layer: Any, database: None) -> None:
        connection.settings_dict["CONN_MAX_AGE"] = None
        try:
            with working(layer):
                found = []
                for query in ("", "break", ""):
                    one = Connection(layer, "/asynchronous/", query=query)
                    one.wait_for_end()
                    found.append(one.received[0].message["status"])
        finally:
            connection.settings_dict["CONN_MAX_AGE"] = 0
        assert found == [200, 500, 200]

    def test_neighbours_that_come_and_go_close_no_connection_under_a_cursor(self, layer: Any, database: None) -> None:
        User.objects.bulk_create(User(username=name) for name in "abcd")
        gates["rows"] = gate = threading.Event()
        gate.set()
        with working(layer, threads=2):
            slow = Connection(layer, "/rows/")
            slow.wait_for(1)
            for _ in range(3):
                assert Connection(layer, "/queries/").wait_for_end() == b"4;4;4;"
            assert slow.wait_for_end() == b"abcd"


class TestFiles:
    def test_one_whose_client_takes_its_time_holds_no_thread(self, layer: Any, tmp_path: Path) -> None:
        content = os.urandom(5_000_000)
        (tmp_path / "file").write_bytes(content)
        with working(layer):
            downloads = [Connection(layer, "/file/", query=f"path={tmp_path / 'file'}") for _ in range(3)]
            for download in downloads:
                download.wait_for(MAX_IN_FLIGHT // 524_288)
            assert is_alive(layer)
            for download in downloads:
                assert len(download.look()) == MAX_IN_FLIGHT // 524_288
                for written in range(524_288, 5_000_000, 524_288):
                    download.report(written=written)
                assert download.wait_for_end() == content

    def test_one_whose_client_leaves_is_closed(self, layer: Any, tmp_path: Path, finished: list[str]) -> None:
        (tmp_path / "file").write_bytes(b"x" * 5_000_000)
        with working(layer, grace=30):
            download = Connection(layer, "/file/", query=f"path={tmp_path / 'file'}")
            download.report(closed=True)
            wait_until(lambda: finished == ["finished"], "the end")
        assert opened[-1].closed

    def test_one_that_fits_into_a_message_is_one_and_is_closed(self, layer: Any, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"small")
        with working(layer):
            one = Connection(layer, "/file/", query=f"path={tmp_path / 'file'}")
            assert one.wait_for_end() == b"small"
            [only] = one.received
            assert only.message["status"] == 200
            assert [b"Content-Length", b"5"] in only.message["headers"]
            assert only.headers is None

    def test_with_a_known_length_it_may_use_the_whole_grace_period(self, layer: Any, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"x" * 5_000_000)
        with working(layer, grace=30):
            one = Connection(layer, "/file/", query=f"path={tmp_path / 'file'}")
            one.wait_for(MAX_IN_FLIGHT // 524_288)
            for written in range(524_288, 5_000_000, 524_288):
                one.report(written=written)
        assert len(one.wait_for_end()) == 5_000_000

    @pytest.mark.parametrize("cached", [0, 100, 524_288])
    def test_what_the_cache_has_of_a_file_is_read_without_a_thread(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: int
    ) -> None:
        content = os.urandom(3_000)
        (tmp_path / "file").write_bytes(content)

        class Watched(io.FileIO):
            """The exact type is what counts."""

        def read(file: int, offset: int, into: memoryview) -> int:
            return os.preadv(file, [into[:cached]], offset) if cached else 0

        monkeypatch.setattr("channels.http.streaming.read_cached", read)

        async def parts() -> list[bytes]:
            return [bytes(part) async for part in stream._read_file(file)]

        for kind, is_known in ((io.FileIO, True), (Watched, False)):
            with kind(str(tmp_path / "file")) as file:
                stream = ResponseStream(make_request(None, "/"), HttpResponse(), 1_000, file, file.read(1_000))
                sent = asyncio.run(parts())
                assert b"".join(sent) == content
                assert (100 in map(len, sent)) == (is_known and cached == 100)

    def test_parts_of_a_file_lie_in_the_same_buffer_until_the_next_is_asked_for(self, tmp_path: Path) -> None:
        content = os.urandom(3_000)
        (tmp_path / "file").write_bytes(content)

        async def read() -> None:
            buffers: set[int] = set()
            position = 0
            async for part in stream._read_file(file):
                assert part == content[position : position + 1_000]
                position += len(part)
                if isinstance(part, memoryview):
                    buffers.add(id(part.obj))
            assert position == len(content)
            assert len(buffers) == 1

        with (tmp_path / "file").open("rb") as file:
            stream = ResponseStream(make_request(None, "/"), HttpResponse(), 1_000, file, file.read(1_000))
            asyncio.run(read())

    @pytest.mark.parametrize(
        ("kind", "is_known"),
        [("open file", True), ("bytes", True), ("django file", True), ("temporary", True), ("wrapped", True),
         ("pipe", False), ("generator", False), ("object", False)],
    )  # fmt: skip
    def test_only_files_that_keep_nobody_waiting_are_read_in_other_threads(
        self, tmp_path: Path, kind: str, is_known: bool
    ) -> None:
        (tmp_path / "file").write_bytes(b"x")
        reading, writing = os.pipe()
        os.close(writing)

        class Own:
            def read(self, size: int) -> bytes:
                return b""

        makers: dict[str, Callable[[], Any]] = {
            "open file": lambda: FileResponse((tmp_path / "file").open("rb")),
            "bytes": lambda: FileResponse(io.BytesIO(b"x")),
            "django file": lambda: FileResponse(ContentFile(b"x")),
            "temporary": lambda: FileResponse(File(tempfile.NamedTemporaryFile())),  # noqa: SIM115 - it is closed, too
            "wrapped": lambda: StreamingHttpResponse(FileWrapper((tmp_path / "file").open("rb"))),
            "pipe": lambda: FileResponse(os.fdopen(reading, "rb", closefd=False)),
            "generator": lambda: StreamingHttpResponse(iter([b"x"])),
            "object": lambda: FileResponse(Own()),
        }
        response = makers[kind]()
        try:
            assert (file_behind(response) is not None) == is_known
        finally:
            response.close()
            os.close(reading)


def test_the_test_client_gets_the_whole_of_a_stream(layer: Any, database: None) -> None:
    layer.routing.append(route("http.request", ViewConsumer()))
    client = Client()
    content = make_request(layer, "/queries/").content | {"reply_channel": client.reply_channel}
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[]):
        client.send_and_consume("http.request", content)
    replies = list(iter(client.receive, None))
    assert [reply["content"] for reply in replies] == [b"0;", b"0;", b"0;", b""]
    assert replies[0]["status"] == 200
