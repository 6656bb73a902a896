"""Health and metrics of an interface server, and its own answers on the port of its clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from channel_layer.facts import LOST_SECONDS, State
from channel_layer.metrics import Metrics
from channel_layer.reports import Report

from .bridge.context import Context
from .bridge.messages import Scope
from .http.download import ResponseWriter
from .http.own import OwnExchange
from .monitoring import ALL_WELL, Answer, Answers, Condition, condition_answer, trusted
from .reporting import Reporter


class Monitor:
    """Judges a server by what its parts know anyway, so that no question costs a call to the layer.

    Args:
        context: what the process shares.
        reporter: makes its reports, and knows whether workers listen.
    """

    def __init__(self, context: Context, reporter: Reporter) -> None:
        self._context = context
        self._reporter = reporter
        self._metrics = Metrics(self._reports, context.layer)
        self.render = self._metrics.render
        self.answers = Answers(self.health, self.ready, self.render)

    def health(self) -> Condition:
        """Tell whether the event loop turns."""
        late = time.monotonic() - self._context.facts.ticked
        if late > LOST_SECONDS:
            return Condition(False, f"the event loop has not turned for {late:.0f} seconds")
        return ALL_WELL

    def ready(self) -> Condition:
        """Tell whether new connections can be served."""
        context = self._context
        health = self.health()
        if not health.good:
            return health
        if context.draining or context.stopping:
            return Condition(False, "the server is about to end")
        if context.uplink.down is not None:
            return Condition(False, "the channel layer is away")
        if not context.facts.heard and not self._reporter.reached:
            return Condition(False, "the channel layer has not answered yet")
        if context.options.ready_needs_worker and not self._reporter.workers_listen:
            return Condition(False, "no worker listens")
        return ALL_WELL

    def own_exchange(self, scope: Scope, writer: ResponseWriter) -> OwnExchange | None:
        """The exchange for a request that the server answers itself, if it is one."""
        options, path = self._context.options, scope["path"]
        answer: Callable[[], Answer]
        if scope["method"] not in ("GET", "HEAD"):
            return None
        if path == options.health_path:
            answer = lambda: condition_answer(self.health())  # noqa: E731
        elif path == options.ready_path:
            answer = lambda: condition_answer(self.ready())  # noqa: E731
        elif path == options.metrics_path and trusted(scope["client"], scope["headers"], options.metrics_allow):
            accept = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"), "")
            return OwnExchange(writer, lambda: self.answers.metrics(accept), asyncio.get_running_loop())
        else:
            return None
        return OwnExchange(writer, answer)

    def _reports(self) -> list[Report]:
        state: State = "draining" if self._context.draining else "running"
        return [Report(self._reporter.name, self._reporter.content(state), 0.0)]
