"""`channels.handler`: Django's views behind ``http.request``."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
import logging
import threading
from typing import Any

import pytest
from django.core import signals
from django.test import override_settings
from django.urls import get_script_prefix

from channel_layer.exceptions import ChannelFull
from channels.handler import AsgiHandler, AsgiRequest, ViewConsumer
from channels.http import encoding, flow, request_signals
from tests.conftest import wait_until
from tests.fixtures.outboxes import collecting
from workers.streams import Streams, current_streams

from . import views
from .messages import REPLY, deliveries, replies, request

consumer = ViewConsumer()
BODY = "http.request.body?x"
FORM_WITH_CSRF_COOKIE = {"content-type": "application/x-www-form-urlencoded", "cookie": "csrftoken=" + "a" * 32}
"""With the cookie Django looks for a token in the form, and so reads the body in its middleware."""


def answer(layer: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Status, headers (a dict) and whole content of a response."""
    run(request(layer, *args, **kwargs))
    return joined(replies(layer))


def run(message: Any) -> None:
    """Run the consumer, and what it leaves behind."""
    stream = consumer(message)
    if stream is not None:
        asyncio.run(stream.run())


def joined(messages: list[dict[str, Any]]) -> dict[str, Any]:
    assert [message["more_content"] for message in messages] == [True] * (len(messages) - 1) + [False]
    first = messages[0]
    return {
        "status": first["status"],
        "headers": {name.decode(): value.decode() for name, value in first["headers"]},
        "content": b"".join(message["content"] for message in messages),
        "messages": len(messages),
    }


def described(layer: Any, *args: Any, **kwargs: Any) -> Any:
    return json.loads(answer(layer, "/describe/", *args, **kwargs)["content"])


def multipart(fields: dict[str, str], files: dict[str, bytes]) -> tuple[str, bytes]:
    parts = [
        f'--bound\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, content in files.items():
        head = f'--bound\r\nContent-Disposition: form-data; name="{name}"; filename="{name}.bin"\r\n'
        parts.append(f"{head}Content-Type: image/png\r\n\r\n".encode() + content + b"\r\n")
    return "multipart/form-data; boundary=bound", b"".join(parts) + b"--bound--\r\n"


def send_body(layer: Any, body: bytes, inline: int = 0, chunk: int = 262_144) -> bytes:
    """Put all but the first bytes of a body on its channel, return the first."""
    rest = body[inline:]
    starts = range(0, len(rest), chunk) or [0]
    for start in starts:
        part = rest[start : start + chunk]
        layer.send(BODY, {"content": part, "more_content": start + chunk < len(rest)})
    return body[:inline]


def endless(layer: Any) -> Any:
    """A request for an endless stream, from somebody who reports progress."""
    return request(layer, "/endless/", flow="http.response.flow?x")


class TestResponses:
    def test_a_view_answers_in_one_message(self, layer: Any) -> None:
        found = answer(layer, "/hello/")
        assert (found["status"], found["content"], found["messages"]) == (200, b"Hello, World", 1)
        assert found["headers"]["Content-Length"] == "12"
        assert found["headers"]["Content-Type"] == "text/html; charset=utf-8"

    def test_a_response_of_one_message_waits_for_the_end_of_the_consumer(self, layer: Any) -> None:
        with collecting([]) as outbox:
            consumer(request(layer, "/hello/"))
        assert replies(layer) == []
        assert [item.target for _, item in outbox] == [REPLY]

    def test_a_long_response_is_cut_into_messages(self, layer: Any) -> None:
        with collecting([]) as outbox:
            found = answer(layer, "/big/")
        assert outbox == []
        assert found["messages"] == 3
        assert found["content"] == b"0123456789" * 131_072

    def test_a_handler_may_encode_responses_itself(self, layer: Any) -> None:
        class Handler(AsgiHandler):
            @classmethod
            def encode_response(cls, response: Any, with_content: bool = True) -> Any:
                for reply in super().encode_response(response, with_content):
                    yield {**reply, "status": 299}

        class Consumer(ViewConsumer):
            handler_class = Handler

        Consumer()(request(layer, "/hello/"))
        assert joined(replies(layer))["status"] == 299

    def test_a_response_that_cannot_be_encoded_ends_the_request_and_is_closed(
        self, layer: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(response: Any) -> Any:
            raise ValueError("no headers")

        closed = []
        monkeypatch.setattr(encoding, "encode_headers", fail)
        monkeypatch.setattr(request_signals, "close", closed.append)
        with pytest.raises(ValueError, match="no headers"):
            consumer(request(layer, "/hello/"))
        assert [reply["status"] for reply in replies(layer)] == [500]
        assert [response.content for response in closed] == [b"Hello, World"]

    def test_a_redirect(self, layer: Any) -> None:
        found = answer(layer, "/move/")
        assert (found["status"], found["headers"]["Location"]) == (302, "/elsewhere/")

    def test_every_cookie_gets_a_header_of_its_own(self, layer: Any) -> None:
        consumer(request(layer, "/cookies/"))
        headers = replies(layer)[0]["headers"]
        cookies = [value for name, value in headers if name == b"Set-Cookie"]
        assert cookies == [b"first=1; HttpOnly; Path=/", b'second="a b"; Path=/']

    def test_pages_that_are_missing_forbidden_or_broken(self, layer: Any) -> None:
        assert answer(layer, "/missing/")["status"] == 404
        assert answer(layer, "/no/such/url/")["status"] == 404
        assert answer(layer, "/forbidden/")["status"] == 403

    def test_a_view_that_raises_gives_500_and_is_logged(self, layer: Any, caplog: pytest.LogCaptureFixture) -> None:
        found = answer(layer, "/broken/")
        assert found["status"] == 500
        assert b"the view broke" not in found["content"]
        assert "the view broke" in caplog.text

    def test_with_debug_the_error_page_shows_the_error(self, layer: Any) -> None:
        with override_settings(DEBUG=True):
            assert b"the view broke" in answer(layer, "/broken/")["content"]

    def test_a_host_that_is_not_allowed_gives_400(self, layer: Any) -> None:
        assert answer(layer, "/describe/", headers={"host": "evil.example"})["status"] == 400

    def test_a_header_with_a_line_break_gives_500_and_nothing_of_it(self, layer: Any) -> None:
        found = answer(layer, "/bad_header/")
        assert found["status"] == 500
        assert "X-Injected" not in found["headers"]

    def test_head_has_headers_and_no_content(self, layer: Any) -> None:
        found = answer(layer, "/hello/", "HEAD")
        assert (found["headers"]["Content-Length"], found["content"]) == ("12", b"")

    def test_head_does_not_read_a_stream(self, layer: Any) -> None:
        views.events.clear()
        assert answer(layer, "/endless/", "HEAD")["content"] == b""

    def test_no_content(self, layer: Any) -> None:
        found = answer(layer, "/no_content/")
        assert (found["status"], found["content"]) == (204, b"")

    def test_async_views_work(self, layer: Any) -> None:
        assert answer(layer, "/asynchronous/")["content"] == b"from a coroutine"

    def test_response_later_sends_nothing_and_logs_nothing(self, layer: Any, caplog: pytest.LogCaptureFixture) -> None:
        consumer(request(layer, "/later/"))
        assert replies(layer) == []
        assert caplog.records == []

    def test_middleware_still_runs_around_a_view_that_answers_later(self, layer: Any) -> None:
        finished = []
        signals.request_finished.connect(receiver := lambda **kwargs: finished.append(kwargs["sender"]))
        consumer(request(layer, "/later/"))
        signals.request_finished.disconnect(receiver)
        assert finished == [AsgiHandler]


class TestStreams:
    def test_each_part_is_a_message(self, layer: Any) -> None:
        consumer(request(layer, "/stream/"))
        assert [message["content"] for message in replies(layer)] == [b"part 0\n", b"part 1\n", b"part 2\n", b""]

    def test_a_stream_of_nothing_is_an_empty_response(self, layer: Any) -> None:
        found = answer(layer, "/empty_stream/")
        assert (found["status"], found["content"], found["messages"]) == (200, b"", 1)

    def test_a_file_goes_out_in_chunks_of_512_kib(self, layer: Any) -> None:
        run(request(layer, "/file/"))
        messages = replies(layer)
        assert [len(message["content"]) for message in messages] == [524_288, 524_288, 524_288, 27_136, 0]
        found = joined(messages)
        assert found["content"] == b"abcdefgh" * 200_000
        assert found["headers"]["Content-Length"] == "1600000"
        assert found["headers"]["Content-Disposition"] == 'attachment; filename="letters.txt"'

    def test_an_async_stream_runs_in_one_event_loop_and_is_closed(self, layer: Any) -> None:
        views.events.clear()
        assert answer(layer, "/asynchronous_stream/")["content"] == b"tick 0\ntick 1\ntick 2\n"
        assert views.events == ["async stream closed"]

    def test_a_stream_that_breaks_is_not_ended_as_if_it_were_whole(self, layer: Any) -> None:
        with pytest.raises(RuntimeError, match="the source broke"):
            consumer(request(layer, "/failing_stream/"))
        found = replies(layer)
        assert [message["content"] for message in found] == [b"good so far", b""]
        assert all(message["more_content"] for message in found)
        assert found[-1]["closed"] is True

    def test_the_error_is_reported_also_if_the_connection_cannot_be_told(
        self, layer: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = layer.channel_layer.send_batch

        def send_batch(items: Any) -> Any:
            return list(items) if b"closed" in items[0].body else real(items)

        monkeypatch.setitem(layer.__dict__, "send_batch", send_batch)
        with pytest.raises(RuntimeError, match="the source broke"):
            consumer(request(layer, "/failing_stream/"))

    def test_a_stream_that_breaks_before_it_begins_gives_500(self, layer: Any) -> None:
        with pytest.raises(RuntimeError, match="never began"):
            consumer(request(layer, "/unstarted_stream/"))
        assert [message["status"] for message in replies(layer)] == [500]

    def test_it_gives_up_when_its_channel_stays_full(self, layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(items: Any) -> Any:
            raise ChannelFull

        monkeypatch.setattr(flow, "STALL_SECONDS", 0.05)
        monkeypatch.setitem(layer.__dict__, "send_batch", full)
        views.events.clear()
        consumer(request(layer, "/endless/"))
        assert views.events == ["endless closed"]

    def test_it_stops_and_closes_the_response_when_the_client_is_gone(self, layer: Any, streams: Streams) -> None:
        views.events.clear()
        thread = threading.Thread(target=contextvars.copy_context().run, args=(consumer, endless(layer)))
        thread.start()
        [first, *_] = wait_until(lambda: deliveries(layer), "the beginning")
        layer.send(first.headers["flow"], {"closed": True})
        thread.join(20)
        assert views.events == ["endless closed"]
        assert sum(len(message["content"]) for message in replies(layer)) <= flow.MAX_IN_FLIGHT

    def test_it_is_broken_off_when_nothing_moves_any_more(
        self, layer: Any, streams: Streams, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        monkeypatch.setattr(flow, "STALL_SECONDS", 0.0)
        consumer(endless(layer))
        assert "has taken nothing" in caplog.text
        assert replies(layer)[-1] == flow.BROKEN_OFF

    def test_it_is_broken_off_when_the_worker_stops(self, layer: Any, streams: Streams) -> None:
        streams.wind_up()
        views.events.clear()
        consumer(endless(layer))
        assert views.events == ["endless closed"]
        assert replies(layer) == [flow.BROKEN_OFF]


class TestRequests:
    def test_meta_has_what_wsgi_would_give(self, layer: Any) -> None:
        found = described(layer, "POST", query="a=1&a=2", headers={"x-thing": "yes", "content-type": "text/plain"})
        meta = found["meta"]
        assert found["get"] == {"a": ["1", "2"]}
        assert meta["REQUEST_METHOD"] == "POST"
        assert meta["QUERY_STRING"] == "a=1&a=2"
        assert meta["CONTENT_TYPE"] == "text/plain"
        assert meta["HTTP_X_THING"] == "yes"
        assert meta["HTTP_HOST"] == "testserver"
        assert (meta["REMOTE_ADDR"], meta["REMOTE_HOST"], meta["REMOTE_PORT"]) == ("10.1.2.3", "10.1.2.3", 4567)
        assert (meta["SERVER_NAME"], meta["SERVER_PORT"]) == ("127.0.0.1", "8000")
        assert meta["SERVER_PROTOCOL"] == "HTTP/1.1"

    def test_the_view_sees_a_post_only_past_csrf(self, layer: Any) -> None:
        assert answer(layer, "/protected/", "POST")["status"] == 403

    @pytest.mark.parametrize("in_worker", [False, True])
    def test_reversed_urls_begin_with_the_mount_point(self, layer: Any, streams: Streams, in_worker: bool) -> None:
        def test() -> None:
            current_streams.set(streams if in_worker else None)
            answer(layer, "/hello/")
            assert get_script_prefix() == "/"
            answer(layer, "/app/hello/", root_path="/app")
            assert get_script_prefix() == "/app/"
            answer(layer, "/hello/")
            assert get_script_prefix() == "/"

        contextvars.Context().run(test)

    def test_https(self, layer: Any) -> None:
        found = described(layer, scheme="https", server=["example.com", 443])
        assert found["secure"] is True
        assert found["uri"] == "https://testserver/describe/"

    def test_a_unix_socket_has_no_port_and_no_client(self, layer: Any) -> None:
        found = described(layer, server=["/run/app.sock", None], client=None)
        assert found["meta"]["SERVER_PORT"] == "80"
        assert "REMOTE_ADDR" not in found["meta"]

    def test_a_query_that_is_no_utf8_breaks_nothing(self, layer: Any) -> None:
        found = described(layer, query_string=b"a=%ff\xff")
        assert list(found["get"]) == ["a"]

    def test_signals_surround_it(self, layer: Any) -> None:
        seen = []
        started = lambda **kwargs: seen.append(("started", kwargs["message"].channel.name))  # noqa: E731
        finished = lambda **kwargs: seen.append(("finished", kwargs["sender"]))  # noqa: E731
        signals.request_started.connect(started)
        signals.request_finished.connect(finished)
        answer(layer, "/hello/")
        signals.request_started.disconnect(started)
        signals.request_finished.disconnect(finished)
        assert seen == [("started", "http.request"), ("finished", AsgiHandler)]

    def test_sessions_of_the_browser(self, layer: Any, database: None) -> None:
        first = answer(layer, "/count/")
        cookie = first["headers"]["Set-Cookie"].split(";")[0]
        assert first["content"] == b"1"
        assert answer(layer, "/count/", headers={"cookie": cookie})["content"] == b"2"


class TestBodies:
    def test_a_form(self, layer: Any) -> None:
        kind = {"content-type": "application/x-www-form-urlencoded", "content-length": "16"}
        found = json.loads(answer(layer, "/form/", "POST", headers=kind, body=b"a=1&a=2&b=%C3%A9")["content"])
        assert found["post"] == {"a": ["1", "2"], "b": ["\u00e9"]}

    def test_a_form_without_a_content_length(self, layer: Any) -> None:
        kind = {"content-type": "application/x-www-form-urlencoded"}
        found = json.loads(answer(layer, "/form/", "POST", headers=kind, body=b"a=%C3%A9")["content"])
        assert found["post"] == {"a": ["\u00e9"]}

    @pytest.mark.parametrize("with_length", [True, False])
    def test_an_upload_in_parts_reaches_the_upload_handlers(self, layer: Any, with_length: bool) -> None:
        small, large = b"s" * 1000, bytes(range(256)) * 16_384  # the second has 4 MiB
        kind, data = multipart({"title": "holiday"}, {"small": small, "large": large})
        headers = {"content-type": kind} | ({"content-length": str(len(data))} if with_length else {})
        first = send_body(layer, data, inline=262_144)
        found = json.loads(answer(layer, "/form/", "POST", headers=headers, body=first, body_channel=BODY)["content"])
        assert found["post"] == {"title": ["holiday"]}
        assert found["files"]["small"][0] == {
            "name": "small.bin",
            "size": 1000,
            "type": "image/png",
            "kind": "TemporaryUploadedFile",
            "sha": hashlib.sha256(small).hexdigest(),
        }
        assert found["files"]["large"][0]["kind"] == "TemporaryUploadedFile"
        assert found["files"]["large"][0]["sha"] == hashlib.sha256(large).hexdigest()

    def test_a_body_is_the_inline_part_and_the_rest(self, layer: Any) -> None:
        data = bytes(range(256)) * 4096
        first = send_body(layer, data, inline=1000)
        found = json.loads(answer(layer, "/body/", "POST", body=first, body_channel=BODY)["content"])
        assert found == {"size": len(data), "sha": hashlib.sha256(data).hexdigest()}

    def test_a_view_can_read_it_like_a_file(self, layer: Any) -> None:
        data = b"line\n" * 100_000
        found = json.loads(
            answer(layer, "/read_in_parts/", "POST", body=send_body(layer, data), body_channel=BODY)["content"]
        )
        assert found["sha"] == hashlib.sha256(data).hexdigest()
        assert found["parts"] == 8

    @pytest.mark.parametrize("with_length", [True, False])
    def test_a_body_above_djangos_limit_gives_400(self, layer: Any, with_length: bool) -> None:
        data = b"x" * 3_000_000
        headers = {"content-length": str(len(data))} if with_length else {}
        first = send_body(layer, data)
        found = answer(layer, "/body/", "POST", headers=headers, body=first, body_channel=BODY)
        assert found["status"] == 400

    def test_a_view_that_ignores_its_body_does_not_wait_for_it(self, layer: Any) -> None:
        assert answer(layer, "/ignores_its_body/", "POST", body_channel=BODY)["content"] == b"not looked at"

    def test_a_body_that_stops_coming_gives_408(
        self, layer: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(AsgiRequest, "body_receive_timeout", 0.01)
        for path in ("/body/", "/form/", "/protected/", "/read_in_parts/"):
            layer.send(BODY, {"content": b"a", "more_content": True})
            found = answer(layer, path, "POST", body=b"x", body_channel=BODY, headers=FORM_WITH_CSRF_COOKIE)
            assert found["status"] == 408, path
        assert all(record.levelno < logging.ERROR for record in caplog.records)

    def test_nobody_answers_a_client_that_is_gone(self, layer: Any, caplog: pytest.LogCaptureFixture) -> None:
        for path in ("/body/", "/form/", "/protected/", "/read_in_parts/"):
            layer.send(BODY, {"closed": True, "content": b"", "more_content": False})
            consumer(request(layer, path, "POST", body=b"x", body_channel=BODY, headers=FORM_WITH_CSRF_COOKIE))
            assert replies(layer) == [], path
        assert all(record.levelno < logging.ERROR for record in caplog.records)

    @pytest.mark.parametrize("path", ["/body/", "/reads_in_middleware/"])
    def test_a_request_that_fails_is_finished_once(
        self, layer: Any, monkeypatch: pytest.MonkeyPatch, path: str
    ) -> None:
        monkeypatch.setattr(AsgiRequest, "body_receive_timeout", 0.01)
        finished = []
        signals.request_finished.connect(receiver := lambda **kwargs: finished.append(kwargs["sender"]))
        with override_settings(MIDDLEWARE=["tests.channels.views.reading_middleware"]):
            ViewConsumer()(request(layer, path, "POST", body=b"x", body_channel=BODY))
        signals.request_finished.disconnect(receiver)
        assert [message["status"] for message in replies(layer)] == [408]
        assert finished == [AsgiHandler]

    def test_a_body_that_cannot_be_parsed_gives_400(self, layer: Any) -> None:
        kind = {"content-type": "multipart/form-data", "content-length": "3"}
        assert answer(layer, "/form/", "POST", headers=kind, body=b"abc")["status"] == 400
