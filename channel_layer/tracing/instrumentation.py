"""Entry point for ``opentelemetry-instrument``, which enables tracing in the processes that it starts."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from channel_layer import tracing


class MillraceInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # without types
    """Turns `channel_layer.tracing` on and off."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing but this distribution."""
        return []

    def _instrument(self, **kwargs: Any) -> None:
        tracing.enable(kwargs.get("tracer_provider"))

    def _uninstrument(self, **kwargs: Any) -> None:
        tracing.disable()
