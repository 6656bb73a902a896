"""The thread that publishes the reports of a worker."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from typing import Any

from channel_layer.facts import REPORT_SECONDS, State
from channel_layer.layer import ChannelLayer
from channel_layer.reports import REPORTS

logger = logging.getLogger(__name__)

END_SECONDS = 1.0
"""The time that the last report may take: nobody waits longer for the end of a worker because of it."""


class Reporter:
    """Publishes a report every two seconds, and one more at the end.

    Its thread waits for nobody but the layer, so a worker whose consumers all hang still reports. A layer without the
    extension gets none.

    Args:
        layer: the worker's layer.
        content: makes a report; called in the thread.

    Attributes:
        name: of the process.
        reached: whether the layer has kept a report.
    """

    def __init__(self, layer: ChannelLayer, content: Callable[[State], dict[str, Any]]) -> None:
        self.name = f"worker.{secrets.token_urlsafe(12)}"
        self.reached = False
        self._layer = layer
        self._content = content
        self._ended = threading.Event()
        self._draining = False
        self._due = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to publish."""
        if REPORTS in getattr(self._layer, "extensions", ()):
            self._thread = threading.Thread(target=self._run, name="worker-reporter", daemon=True)
            self._thread.start()

    def drain(self) -> None:
        """The worker is about to end: say so at once."""
        self._draining = True
        self._due.set()

    def end(self) -> None:
        """Publish the last report, and stop. Blocks for `END_SECONDS` at most."""
        self._ended.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join(END_SECONDS)

    def _run(self) -> None:
        while not self._ended.is_set():
            self._publish("draining" if self._draining else "running")
            self._due.wait(REPORT_SECONDS)
            self._due.clear()
        self._publish("ended")

    def _publish(self, state: State) -> None:
        try:
            self._layer.publish_report(self.name, self._content(state))
            self.reached = True
        except Exception as error:  # who has messages for the layer says aloud that it is away
            logger.debug("no report was kept: %s", error)
