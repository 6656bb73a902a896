"""One trace from browser to browser: spans of the interface server and of the worker, over real sockets."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from websockets.sync.client import ClientConnection, connect

from channel_layer import tracing
from channels import Group, route
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.test import ChannelLiveServerTestCase
from tests.conftest import wait_until

from .documents import run_examples

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}

provider = TracerProvider()
exporter = InMemorySpanExporter()
provider.add_span_processor(SimpleSpanProcessor(exporter))


def own_span(name: str) -> None:
    """What an application traces itself, as instrumented libraries do."""
    with provider.get_tracer("application").start_as_current_span(name):
        pass


def view(request: HttpRequest) -> HttpResponse:
    own_span("query")
    return HttpResponse("ok")


urlpatterns = [path("page/", view)]


def join(message: Any) -> None:
    message.reply_channel.send({"accept": True})
    Group("everybody").add(message.reply_channel)


def say(message: Any) -> None:
    own_span("query")
    if message["text"] == "fail":
        raise ValueError("on purpose")
    Group("everybody").send({"text": message["text"]})


async def say_later(message: Any) -> None:
    own_span("query")
    await Group("everybody").asend({"text": message["text"]})


class Hosted(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.channel_layer.group_add("hosted", self.channel_name)
        await self.accept()

    async def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
        own_span("query")
        await self.channel_layer.group_send("hosted", {"type": "tell", "text": text_data})

    async def tell(self, event: Any) -> None:
        await self.send(event["text"])


class HostedSync(WebsocketConsumer):
    def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
        own_span("query")
        self.send(text_data)


application = ProtocolTypeRouter(
    {"websocket": URLRouter([path("hosted/", Hosted.as_asgi()), path("sync/", HostedSync.as_asgi())])}
)

ROUTING = [
    route("websocket.connect", join, path=r"^/(group|later)/"),
    route("websocket.receive", say, path=r"^/group/"),
    route("websocket.receive", say_later, path=r"^/later/"),
]
LAYERS = {
    "default": {
        "BACKEND": "channel_layer.memory.MemoryChannelLayer",
        "ROUTING": f"{__name__}.ROUTING",
        "TEST_CONFIG": {},
    }
}


@pytest.fixture(autouse=True)
def traced() -> Iterator[None]:
    tracing.enable(provider)
    exporter.clear()
    yield
    tracing.disable()


def spans(count: int, name: str) -> list[ReadableSpan]:
    """The spans of a name, once there are as many."""

    def found() -> list[ReadableSpan]:
        named = [span for span in exporter.get_finished_spans() if span.name == name]
        return named if len(named) >= count else []

    return wait_until(found, f"{count} spans {name!r}")


def one(name: str) -> ReadableSpan:
    (span,) = spans(1, name)
    return span


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None, span.name
    return span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    return span.get_span_context().span_id


@override_settings(CHANNEL_LAYERS=LAYERS, ASGI_APPLICATION=f"{__name__}.application", ROOT_URLCONF=__name__)
@pytest.mark.usefixtures("traced")
class TracingTests(ChannelLiveServerTestCase):
    def connect(self, path: str) -> ClientConnection:
        return connect(f"{self.live_server_ws_url}{path}", additional_headers=PARENT)

    def test_a_request(self) -> None:
        request = urllib.request.Request(f"{self.live_server_url}/page/", headers=PARENT)
        with urllib.request.urlopen(request, timeout=20) as response:
            assert response.read() == b"ok"
        server, waited, consumer, query = (
            one("GET"),
            one("wait http.request"),
            one("process http.request"),
            one("query"),
        )
        assert f"{server.get_span_context().trace_id:032x}" == TRACE
        assert f"{parent_of(server):016x}" == "b7ad6b7169203331"
        assert (server.kind, consumer.kind) == (trace.SpanKind.SERVER, trace.SpanKind.CONSUMER)
        assert [parent_of(waited), parent_of(consumer)] == [id_of(server)] * 2
        assert parent_of(query) == id_of(consumer)
        assert parent_of(one("deliver")) == id_of(consumer)
        assert dict(server.attributes or {}) | {"http.response.status_code": 200, "url.path": "/page/"} == dict(
            server.attributes or {}
        )

    def test_a_frame_to_a_group(self) -> None:
        self.check_frame("/group/")

    def test_a_frame_to_a_group_from_a_coroutine(self) -> None:
        self.check_frame("/later/")

    def check_frame(self, path: str) -> None:
        with self.connect(path) as speaker, self.connect(path) as member:
            handshake = spans(2, "websocket.connect")[0]
            assert f"{handshake.get_span_context().trace_id:032x}" == TRACE
            speaker.send("hello")
            assert [speaker.recv(20), member.recv(20)] == ["hello"] * 2
            frame, consumer, delivery = (
                one("websocket.receive"),
                one("process websocket.receive"),
                one("deliver to group"),
            )
        assert frame.parent is None
        assert parent_of(consumer) == id_of(frame)
        assert [parent_of(one("query")), parent_of(delivery)] == [id_of(consumer)] * 2
        assert dict(delivery.attributes or {})["messaging.millrace.members"] == 2

    def test_a_consumer_that_fails(self) -> None:
        with self.connect("/group/") as speaker:
            speaker.send("fail")
            consumer = one("process websocket.receive")
        assert consumer.status.status_code is trace.StatusCode.ERROR
        assert consumer.status.description == "on purpose"

    def test_a_frame_to_instances_of_channels_4(self) -> None:
        with self.connect("/hosted/") as speaker, self.connect("/hosted/") as member:
            speaker.send("hello")
            assert [speaker.recv(20), member.recv(20)] == ["hello"] * 2
            frame, turn = one("websocket.receive"), one("process websocket.receive")
            told = spans(2, "process tell")
        assert parent_of(turn) == id_of(frame)
        assert parent_of(one("query")) == id_of(turn)
        assert [parent_of(span) for span in told] == [id_of(turn)] * 2
        assert dict(turn.attributes or {})["messaging.millrace.application"] == "the application behind /hosted/"

    def test_a_frame_to_a_sync_instance(self) -> None:
        with self.connect("/sync/") as socket:
            socket.send("hello")
            assert socket.recv(20) == "hello"
            turn = one("process websocket.receive")
        assert parent_of(one("query")) == id_of(turn)


def test_the_guide() -> None:
    tracing.disable()
    run_examples("tracing.md", "guide")
    assert tracing.is_on
