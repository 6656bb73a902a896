from __future__ import annotations

import contextvars
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from channel_layer.channel import Message
from channel_layer.memory import MemoryChannelLayer
from workers.exceptions import ConsumeLater
from workers.hooks import Hooks
from workers.tracing import EventSpans, TracingHook

if TYPE_CHECKING:
    from workers.instances import Hosted


def test_what_a_consumer_sends_belongs_to_its_span(spans: InMemorySpanExporter) -> None:
    hook, layer = TracingHook(), MemoryChannelLayer()
    message = Message({"path": "/room/"}, "websocket.receive", layer)
    hook.before(message)
    sent = layer.prepare("elsewhere", {}).headers
    hook.after(message, None)
    (span,) = spans.get_finished_spans()
    assert span.name == "process websocket.receive"
    assert dict(span.attributes or {})["url.path"] == "/room/"
    assert sent is not None
    assert f"{span.get_span_context().span_id:016x}" in sent["trace"]
    assert layer.prepare("elsewhere", {}).headers is None


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no"), StatusCode.ERROR), (ConsumeLater(), StatusCode.UNSET)]
)
def test_a_signal_is_no_failure(spans: InMemorySpanExporter, error: BaseException, status: StatusCode) -> None:
    message = Message({}, "there", MemoryChannelLayer())
    hook = TracingHook()
    hook.before(message)
    hook.after(message, error)
    (span,) = spans.get_finished_spans()
    assert span.status.status_code is status


def test_a_message_that_ends_in_another_context_has_one_span(spans: InMemorySpanExporter) -> None:
    message = Message({}, "there", MemoryChannelLayer())
    hook = TracingHook()
    hook.before(message)
    contextvars.copy_context().run(hook.after, message, None)  # as coroutines do
    assert [span.name for span in spans.get_finished_spans()] == ["process there"]


def test_events_of_an_instance_find_the_spans_that_caused_them(spans: InMemorySpanExporter) -> None:
    events = EventSpans(cast("Hosted", SimpleNamespace(name="an application")), Hooks())
    headers: Any = {"trace": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "traced_at": 1.0, "turn": 2}
    events.expect(2, headers)
    events.expect(3, {"turn": 3})
    for number in (2, 3):
        events.begin(number, "websocket.receive")
        events.end()
    events.end()  # nothing is under way
    waited, first, second = spans.get_finished_spans()
    assert waited.name == "wait websocket.receive"
    assert first.parent is not None
    assert f"{first.parent.span_id:016x}" == "b7ad6b7169203331"
    assert second.parent is None
