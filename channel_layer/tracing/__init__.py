"""Trace contexts of messages, for OpenTelemetry (W3C Trace Context).

Off until `enable` is called. Then each message that is prepared within a span carries the span's context in its
headers, and whoever deals with the message makes a span of its own below it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..delivery import Headers

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

NAME = "django-millrace"
"""Instrumentation scope of the spans."""

Kind = Literal["server", "consumer", "producer", "internal"]
Attributes = Mapping[str, str | int | bool]

is_on = False
"""True once spans are made. Read before anything else here is called: what is off costs no more than that."""


class TracingUnavailable(Exception):
    """OpenTelemetry is not installed; the text says what to do."""


class Turn(Protocol):
    """Span of something that takes time."""

    @property
    def headers(self) -> Headers:
        """For a message that belongs to it and is sent now."""

    def end(self, failure: BaseException | str | None = None, attributes: Attributes | None = None) -> None:
        """It is over, and has failed if there is a reason for that; later calls do nothing."""


class _Off:
    """In place of a tracer; never asked, for `is_on` is."""

    def begin(self, *args: Any, **kwargs: Any) -> Turn:
        raise TracingUnavailable("tracing is off; call channel_layer.tracing.enable() first")

    stamp = enter = begin


_tracer: Any = _Off()


def enable(provider: TracerProvider | None = None) -> None:
    """Make spans from now on. Call it before servers and workers are made.

    Args:
        provider: of OpenTelemetry; the global one if left out.

    Raises:
        TracingUnavailable: OpenTelemetry is not installed.
    """
    global is_on, _tracer
    try:
        from .opentelemetry_tracer import OpenTelemetryTracer
    except ImportError as error:
        raise TracingUnavailable(
            f"tracing needs OpenTelemetry ({error}); pip install 'django-millrace[otel]'"
        ) from error
    _tracer = OpenTelemetryTracer(provider)
    is_on = True


def disable() -> None:
    """Make no more spans."""
    global is_on, _tracer
    is_on, _tracer = False, _Off()


def begin(
    name: str,
    kind: Kind,
    attributes: Attributes,
    *,
    carrier: Headers | None = None,
    incoming: Mapping[str, str] | None = None,
    since: float | None = None,
) -> Turn:
    """Begin a span.

    Args:
        name: of few different values.
        kind: see OpenTelemetry's SpanKind.
        attributes: by the semantic conventions of OpenTelemetry.
        carrier: headers of a message, whose span is the parent.
        incoming: headers of an HTTP request, by lower-case names, whose ``traceparent`` is the parent. Without both it
            is the span of the calling context, if there is one.
        since: when it began, in seconds of `time.time`; now if left out.
    """
    turn: Turn = _tracer.begin(name, kind, attributes, carrier, incoming, since)
    return turn


def begin_message(channel: str, headers: Headers, attributes: Attributes) -> Turn:
    """Begin the span of a message that was received, and make one of the time that it has waited."""
    carrier = headers if "trace" in headers else None
    waited_since = headers.get("traced_at")
    attributes = {
        "messaging.system": "millrace",
        "messaging.operation.type": "process",
        "messaging.destination.name": channel,
        **attributes,
    }
    if waited_since is not None:
        begin(f"wait {channel}", "internal", attributes, carrier=carrier, since=waited_since).end()
    return begin(f"process {channel}", "consumer", attributes, carrier=carrier)


def enter(turn: Turn) -> None:
    """Make a span that of the calling context, in which other spans and messages belong to it."""
    _tracer.enter(turn)


def leave() -> None:
    """Have no span in the calling context."""
    _tracer.enter(None)


def stamp(headers: Headers | None) -> Headers | None:
    """Headers with the span of the calling context, if there is one and they have none yet."""
    if headers is not None and "trace" in headers:
        return headers
    stamped: Headers | None = _tracer.stamp(headers)
    return stamped
