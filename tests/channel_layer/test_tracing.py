"""`channel_layer.tracing`: what is off costs nothing and changes nothing, and what headers carry."""

from __future__ import annotations

import builtins
import time
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from channel_layer import tracing
from channel_layer.memory import MemoryChannelLayer
from channel_layer.tracing.instrumentation import MillraceInstrumentor

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_message_has_no_trace_while_tracing_is_off() -> None:
    assert MemoryChannelLayer().prepare("somewhere", {}).headers is None
    with pytest.raises(tracing.TracingUnavailable, match=r"call channel_layer\.tracing\.enable\(\) first"):
        tracing.begin("something", "internal", {})


def test_a_message_outside_of_a_span_has_no_trace(spans: InMemorySpanExporter) -> None:
    assert MemoryChannelLayer().prepare("somewhere", {}).headers is None


def test_a_message_carries_the_span_that_it_was_prepared_in(spans: InMemorySpanExporter) -> None:
    turn = tracing.begin("something", "internal", {})
    tracing.enter(turn)
    headers = MemoryChannelLayer().prepare("somewhere", {}, {"turn": 3}).headers
    assert headers is not None
    assert headers["turn"] == 3
    assert headers["trace"] == turn.headers["trace"]
    assert abs(headers["traced_at"] - time.time()) < 10
    tracing.leave()
    assert MemoryChannelLayer().prepare("somewhere", {}).headers is None


def test_headers_that_have_a_trace_keep_it(spans: InMemorySpanExporter) -> None:
    tracing.enter(tracing.begin("something", "internal", {}))
    headers = MemoryChannelLayer().prepare("somewhere", {}, {"trace": PARENT, "traced_at": 1.0}).headers
    assert headers == {"trace": PARENT, "traced_at": 1.0}


def test_a_message_gets_a_span_for_its_wait_and_one_for_its_consumer(spans: InMemorySpanExporter) -> None:
    sent_at = time.time() - 5
    tracing.begin_message("there", {"trace": PARENT, "traced_at": sent_at}, {"url.path": "/p"}).end(ValueError("no"))
    waited, processed = spans.get_finished_spans()
    assert [span.name for span in (waited, processed)] == ["wait there", "process there"]
    for span in (waited, processed):
        assert span.parent is not None
        assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" in PARENT
        assert dict(span.attributes or {})["messaging.destination.name"] == "there"
    assert (waited.end_time or 0) - (waited.start_time or 0) > 4_900_000_000
    assert processed.status.description == "no"
    assert [event.name for event in processed.events] == ["exception"]


def test_a_clock_that_is_ahead_makes_no_negative_wait(spans: InMemorySpanExporter) -> None:
    tracing.begin_message("there", {"trace": PARENT, "traced_at": time.time() + 60}, {})
    (waited,) = spans.get_finished_spans()
    assert 0 <= (waited.end_time or 0) - (waited.start_time or 0) < 10_000_000_000


@pytest.mark.parametrize("trace", ["", "00-zz", "x" * 500])
def test_a_trace_that_cannot_be_read_begins_another(spans: InMemorySpanExporter, trace: str) -> None:
    tracing.begin_message("there", {"trace": trace}, {}).end()
    (processed,) = spans.get_finished_spans()
    assert processed.parent is None


def test_what_opentelemetry_instruments_can_be_undone() -> None:
    instrumentor = MillraceInstrumentor()
    instrumentor.instrument(tracer_provider=TracerProvider())
    try:
        assert tracing.is_on
    finally:
        instrumentor.uninstrument()
    assert not tracing.is_on


def test_without_opentelemetry_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    true_import = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if "opentelemetry" in name:
            raise ImportError("No module named 'opentelemetry'")
        return true_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(tracing.TracingUnavailable, match=r"pip install 'django-millrace\[otel\]'"):
        tracing.enable()
    assert not tracing.is_on
