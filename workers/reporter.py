"""The thread that publishes the reports of a worker, and answers operators between two of them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from channel_layer.delivery import Delivery
from channel_layer.exceptions import ChannelLayerError
from channel_layer.facts import REPORT_SECONDS, State
from channel_layer.layer import ChannelLayer
from channel_layer.questions import BadQuestion, channel_for, page, understood
from channel_layer.reports import REPORTS

logger = logging.getLogger(__name__)

LISTEN_SECONDS = 0.5
"""Time between two looks for a question. For a thread that waits for one, the layers in memory and over SQLite would
have to look out all the time, also in a worker so busy that nothing else waits."""

END_SECONDS = 1.0
"""The time that the last report may take: nobody waits longer for the end of a worker because of it."""


class Reporter:
    """Publishes a report every two seconds, and one more at the end; see also `channel_layer.questions`.

    Its thread waits for nobody but the layer, so a worker whose consumers all hang still reports. A layer without the
    extension gets none, and the process no questions.

    Args:
        layer: the worker's layer.
        name: of the process.
        content: makes a report; called in the thread.
        stop: begins the orderly end of the worker.

    Attributes:
        reached: whether the layer has kept a report.
    """

    def __init__(
        self, layer: ChannelLayer, name: str, content: Callable[[State], dict[str, Any]], stop: Callable[[], None]
    ) -> None:
        self.name = name
        self.reached = False
        self._layer = layer
        self._content = content
        self._stop = stop
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
            self._listen(time.monotonic() + REPORT_SECONDS)
            self._due.clear()
        self._publish("ended")

    def _listen(self, until: float) -> None:
        """Answer operators until the next report is due."""
        channel = channel_for("worker", self.name)
        while not self._due.is_set() and (seconds := until - time.monotonic()) > 0:
            try:
                deliveries = self._layer.receive_batch([channel])
            except Exception as error:
                logger.debug("operators cannot be heard: %s", error)
                self._due.wait(seconds)
                return
            for delivery in deliveries:
                try:
                    self._answer(delivery)
                except ChannelLayerError as error:
                    logger.error("an operator gets no answer: %s", error)
            if not deliveries:
                self._due.wait(min(seconds, LISTEN_SECONDS))

    def _answer(self, delivery: Delivery) -> None:
        try:
            question = understood(self.name, delivery.message, self._layer.waited([delivery]))
            if question is None:
                logger.info("a question of an operator came too late and is left alone")
                return
            if question.ask != "drain":
                sentence = f"{self.name} is a worker, which does not know the question {question.ask!r}"
                raise BadQuestion(sentence, question.answer_to)
        except BadQuestion as error:
            if not error.answer_to:
                logger.error("a question of an operator was ignored: %s", error)
            else:
                self._layer.send(error.answer_to, page(self.name, 1, True, error=str(error)))
            return
        logger.info("an operator has this worker drained")
        self._layer.send(question.answer_to, page(self.name, 1, True, draining=True))
        self._stop()

    def _publish(self, state: State) -> None:
        try:
            self._layer.publish_report(self.name, self._content(state))
            self.reached = True
        except Exception as error:  # who has messages for the layer says aloud that it is away
            logger.debug("no report was kept: %s", error)
