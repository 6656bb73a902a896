"""Spans of OpenTelemetry; imported when tracing is enabled."""

from __future__ import annotations

import time
from collections.abc import Mapping

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..delivery import Headers
from . import NAME, Attributes, Kind

_KINDS = {
    "server": trace.SpanKind.SERVER,
    "consumer": trace.SpanKind.CONSUMER,
    "producer": trace.SpanKind.PRODUCER,
    "internal": trace.SpanKind.INTERNAL,
}
_PROPAGATOR = TraceContextTextMapPropagator()


class OpenTelemetryTurn:
    """See `channel_layer.tracing.Turn`."""

    __slots__ = ("_span", "context")

    def __init__(self, span: trace.Span, parent: otel_context.Context | None) -> None:
        self._span = span
        self.context = trace.set_span_in_context(span, parent)

    @property
    def headers(self) -> Headers:
        """See `channel_layer.tracing.Turn.headers`."""
        return _headers(self.context)

    def end(self, failure: BaseException | str | None = None, attributes: Attributes | None = None) -> None:
        """See `channel_layer.tracing.Turn.end`."""
        span = self._span
        if not span.is_recording():  # not sampled, or over
            return
        span.set_attributes(dict(attributes or {}))
        if isinstance(failure, BaseException):
            span.record_exception(failure)
        if failure is not None:
            span.set_status(trace.StatusCode.ERROR, str(failure))
        span.end()


class OpenTelemetryTracer:
    """Make spans.

    Args:
        provider: the global one if left out.
    """

    def __init__(self, provider: trace.TracerProvider | None) -> None:
        self._tracer = trace.get_tracer(NAME, tracer_provider=provider)

    def begin(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        carrier: Headers | None,
        incoming: Mapping[str, str] | None,
        since: float | None,
    ) -> OpenTelemetryTurn:
        """See `channel_layer.tracing.begin`."""
        parent: otel_context.Context | None = None
        if carrier is not None or incoming is not None:
            found = incoming if incoming is not None else {"traceparent": (carrier or {}).get("trace", "")}
            parent = _PROPAGATOR.extract(found, otel_context.Context())
        start = None if since is None else int(min(since, time.time()) * 1_000_000_000)
        span = self._tracer.start_span(
            name, context=parent, kind=_KINDS[kind], attributes=dict(attributes), start_time=start
        )
        return OpenTelemetryTurn(span, parent)

    def enter(self, turn: OpenTelemetryTurn | None) -> None:
        """See `channel_layer.tracing.enter`."""
        otel_context.attach(otel_context.Context() if turn is None else turn.context)

    def stamp(self, headers: Headers | None) -> Headers | None:
        """See `channel_layer.tracing.stamp`."""
        stamped = _headers(otel_context.get_current())
        return {**(headers or {}), **stamped} if stamped else headers


def _headers(context: otel_context.Context) -> Headers:
    """Headers that tell of the span of a context; empty if it has none."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context)
    return {"trace": carrier["traceparent"], "traced_at": time.time()} if carrier else {}
