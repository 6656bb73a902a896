from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from channel_layer.delivery import Delivery, Headers
from interface_server.bridge import spans as of

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def scope(**more: Any) -> Any:
    return {"type": "http", "method": "GET", "path": "/p", "scheme": "http", "client": None, "headers": [], **more}


def test_a_request_belongs_to_the_trace_of_its_client(spans: InMemorySpanExporter) -> None:
    of.of_request(scope(headers=[(b"traceparent", PARENT.encode())], client=("192.0.2.1", 5))).end()
    (span,) = spans.get_finished_spans()
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" in PARENT
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET", "url.path": "/p", "url.scheme": "http", "client.address": "192.0.2.1",
    }  # fmt: skip


def test_a_header_that_is_no_trace_is_ignored(spans: InMemorySpanExporter) -> None:
    of.of_handshake(scope(headers=[(b"traceparent", b"\xff\xfe")])).end()
    (span,) = spans.get_finished_spans()
    assert span.parent is None


def test_only_messages_with_a_trace_make_a_span(spans: InMemorySpanExporter) -> None:
    headers: Headers = {"trace": PARENT, "traced_at": 1.0, "turn": 4}
    of.note_delivery(Delivery("a!b", {}))
    of.note_delivery(Delivery("a!b", {}, {"turn": 4}))
    of.note_delivery(Delivery("a!b", {}, headers))
    of.note_delivery(Delivery("a!", {}, headers, members=["b", "c"]))
    one, group = spans.get_finished_spans()
    assert [one.name, group.name] == ["deliver", "deliver to group"]
    assert dict(group.attributes or {})["messaging.millrace.members"] == 2
    assert of.passed_on(headers) == {"trace": PARENT, "traced_at": 1.0}
    assert of.passed_on({"turn": 4}) is None
