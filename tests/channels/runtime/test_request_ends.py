"""`channels.runtime.request_ends`: ``http.disconnect`` after every request, over the interface servers that exist."""

from __future__ import annotations

from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from channel_layer.channel import Message
from channel_layer.memory import MemoryChannelLayer
from channels.runtime.request_ends import RequestEnds
from interface_server.options import Options
from interface_server.wsgi import WsgiInterface
from routing import route
from tests.interface_server.helpers import running, status_of

from ..driving import working
from ..messages import REPLY


def answer(message: Any) -> None:
    message.reply_channel.send({"status": 200, "content": b"whole"})


def answer_in_parts(message: Any) -> None:
    message.reply_channel.send({"status": 200, "content": b"who", "more_content": True}, immediately=True)
    message.reply_channel.send({"content": b"le"}, immediately=True)


@pytest.mark.parametrize("consumer", [answer, answer_in_parts])
def test_a_route_for_it_gets_one_after_each_request(layer: Any, eventually: Any, consumer: Any) -> None:
    ended: list[str] = []
    routing = [route("http.request", consumer), route("http.disconnect", lambda message: ended.append(message["path"]))]
    with working(layer, routing), running(layer=layer, workers_layer=MemoryChannelLayer()) as run:
        for path in ("/1", "/2", "/3"):
            assert status_of(run.get(path)) == 200
        eventually(lambda: sorted(ended) == ["/1", "/2", "/3"])


def test_it_does_under_a_wsgi_server(layer: Any, eventually: Any) -> None:
    ended: list[str] = []
    routing = [route("http.request", answer), route("http.disconnect", lambda message: ended.append(message["path"]))]
    application = WsgiInterface(layer, Options(http_timeout=20))
    environ: dict[str, Any] = {"REQUEST_METHOD": "GET"}
    setup_testing_defaults(environ)
    with working(layer, routing):
        for path in ("/1", "/2"):
            response = application({**environ, "PATH_INFO": path}, lambda status, headers, exc_info=None: bytes)
            assert b"".join(response) == b"whole"
            response.close()  # type: ignore[attr-defined]
        eventually(lambda: sorted(ended) == ["/1", "/2"])
    application.close()


def test_each_server_is_told_once(layer: Any) -> None:
    ends = RequestEnds()
    for name in (REPLY, REPLY + "2", "wsgi.other!1"):
        ends.ask(Message({"reply_channel": name}, "http.request", layer))
    [told] = layer.receive_batch(["daphne.test!"], limit=10)
    assert (told.channel, told.message, told.headers) == (REPLY, {}, {"ends": True})
    assert len(layer.receive_batch(["wsgi.other!"], limit=10)) == 1


def test_who_could_not_be_told_is_told_with_the_next_request(
    layer: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ends, message = RequestEnds(), Message({"reply_channel": REPLY}, "http.request", layer)
    with monkeypatch.context() as patch:
        patch.setattr(layer, "send_batch", lambda items: layer.prepare("no name", {}))
        ends.ask(message)
    assert "daphne.test was not told that a route takes http.disconnect" in caplog.text
    ends.ask(message)
    assert len(layer.receive_batch(["daphne.test!"], limit=10)) == 1


def test_a_message_without_reply_channel_leads_to_no_server(layer: Any) -> None:
    RequestEnds().ask(Message({}, "http.request", layer))
    assert layer.global_statistics()["messages_count"] == 0
