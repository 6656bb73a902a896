"""`channels.http.encoding`: from Django's responses to messages."""

from __future__ import annotations

import io
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.http import FileResponse, HttpResponse, StreamingHttpResponse

from channels.handler import AsgiHandler
from channels.http.encoding import encode, encode_headers, split


def encoded(response: Any, size: int = 4, **options: Any) -> list[dict[str, Any]]:
    return list(encode(response, size, **options))


@pytest.mark.parametrize(
    ("data", "chunks"),
    [
        (b"", [(b"", True)]),
        (b"1234", [(b"1234", True)]),
        (b"12345", [(b"1234", False), (b"5", True)]),
        (b"12345678", [(b"1234", False), (b"5678", True)]),
    ],
)
def test_bytes_are_cut_into_chunks_and_the_last_is_told(data: bytes, chunks: list[tuple[bytes, bool]]) -> None:
    assert list(split(data, 4)) == chunks


def test_a_short_response_is_one_message() -> None:
    assert encoded(HttpResponse(b"1234", status=201, content_type="a/b")) == [
        {"status": 201, "headers": [(b"Content-Type", b"a/b")], "content": b"1234", "more_content": False}
    ]


def test_a_long_one_has_status_and_headers_on_the_first_message_only() -> None:
    first, *others = encoded(HttpResponse(b"123456789"))
    assert (first["status"], first["content"], first["more_content"]) == (200, b"1234", True)
    assert others == [{"content": b"5678", "more_content": True}, {"content": b"9", "more_content": False}]


def test_each_cookie_is_a_header_of_its_own() -> None:
    response = HttpResponse()
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    cookies = [value for name, value in encode_headers(response) if name == b"Set-Cookie"]
    assert cookies == [b"a=1; Path=/", b"b=2; Path=/"]


def test_headers_are_bytes_of_latin_1() -> None:
    response = HttpResponse(content_type="text/plain")
    response["X-Name"] = "caf\u00e9"
    assert (b"X-Name", b"caf\xe9") in encode_headers(response)


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_content_has_none(status: int) -> None:
    assert encoded(HttpResponse(b"not for sending", status=status))[0]["content"] == b""


def test_content_nobody_wants_is_not_even_read() -> None:
    def parts() -> Any:
        pytest.fail("it was read")
        yield b""

    [only] = encoded(StreamingHttpResponse(parts()), with_content=False)
    assert (only["content"], only["more_content"]) == (b"", False)


def test_each_part_of_a_stream_goes_out_when_it_is_there() -> None:
    produced = []

    def parts() -> Any:
        for part in (b"a", b"", b"bcdefg"):
            produced.append(part)
            yield part

    messages = encode(StreamingHttpResponse(parts()), 4)
    assert next(messages)["content"] == b"a"
    assert produced == [b"a"]
    assert [message["content"] for message in messages] == [b"bcde", b"fg", b""]


def test_a_file_is_read_in_chunks_of_the_size_of_a_message() -> None:
    sizes = []

    class File(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            sizes.append(size)
            return super().read(size)

    assert [message["content"] for message in encoded(FileResponse(File(b"123456")))] == [b"1234", b"56", b""]
    assert set(sizes) == {4}


def test_an_async_stream_that_is_given_up_is_closed() -> None:
    events = []

    async def parts() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            events.append("closed")

    messages: Any = encode(StreamingHttpResponse(parts()), 4)
    assert next(messages)["content"] == b"x"
    messages.close()
    assert events == ["closed"]


def test_what_an_async_stream_queries_has_a_thread_and_connections_of_its_own_that_end_with_it() -> None:
    opened: list[Any] = []

    def look() -> str:
        connection.ensure_connection()
        opened.append(connection.connection)
        return threading.current_thread().name

    async def parts() -> AsyncIterator[str]:
        for _ in range(2):
            yield await sync_to_async(look)()

    for _ in range(2):
        names = [message["content"] for message in encoded(StreamingHttpResponse(parts()), 100)]
        assert names == [b"worker-async-sync-1", b"worker-async-sync-1", b""]
    assert opened[0] is opened[1]
    assert opened[1] is not opened[2]
    for one in opened:
        with pytest.raises(Exception, match="closed database"):
            one.execute("select 1")


def test_the_handler_has_both_under_the_names_of_channels_1() -> None:
    size = AsgiHandler.chunk_size
    assert [(len(chunk), last) for chunk, last in AsgiHandler.chunk_bytes(b"x" * (size + 1))] == [
        (size, False),
        (1, True),
    ]
    assert [message["status"] for message in AsgiHandler.encode_response(HttpResponse("x", status=201))] == [201]
