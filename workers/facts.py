"""Facts about a worker: what it counts, and what its reports say.

A report has, besides what all have (`channel_layer.facts`):

=================  ===========================================================================================
``channels``       those on which it listens
``messages``       channel → outcome → number of messages whose consumer has ended
``waited``         channel → histogram: time for which messages had waited there when they were taken
``consumers``      name of a consumer → ``outcomes``: number by outcome; ``seconds``: histogram of its time
``errors``         the last errors of consumers: ``at``, ``channel``, ``consumer``, ``error``, ``traceback``
``errors_count``   errors of consumers, by the name of the exception
``threads``        threads that run consumers; ``busy``: those that do so now
``busy_seconds``   time for which the oldest of all consumers under way has run
``tasks``          ``async def`` consumers under way; ``streams``, ``instances``: as many of these
``leases``         instances by the name of the interface server that holds their connections
``given_back``     messages put back to their channels because no consumer could begin them
``checkpoints``    checkpoints sent
``layer``          ``up``; ``receives``: number of answers; ``failures``; ``lost``: see `Facts.lost`
=================  ===========================================================================================
"""

from __future__ import annotations

import time
import traceback
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Hashable, Sequence
from typing import Any, Final

from channel_layer.facts import BOUNDS, MOST_NAMES, OTHER, Counts, Histogram

LATEST_ERRORS: Final = 5
"""Errors that a report has in full."""

MOST_CALLS: Final = 20
MOST_TRACEBACK: Final = 2_000
"""Characters of a traceback in a report: the end of it, where the error is."""

NO_CONSUMER: Final = "(no route)"
"""Name of the consumer of messages for which the routing has none."""


class _Runs(Histogram):
    """Counts of what one consumer did on one channel."""

    __slots__ = ("channel", "consumer", "outcomes")

    def __init__(self, channel: str, consumer: str) -> None:
        super().__init__()
        self.channel = channel
        self.consumer = consumer
        self.outcomes: defaultdict[str, int] = defaultdict(int)


class Facts:
    """Counters of one worker; each part counts what it does itself.

    Threads share it. In CPython nothing comes between the reading and the writing of a count, as no call does.

    Attributes:
        lost: messages that were dropped or may be lost, by reason.
        up: whether the layer has answered the last receive.
        The others are those of the report.
    """

    def __init__(self) -> None:
        self.lost = Counts()
        self.up = True
        self.receives = 0
        self.failures = 0
        self.given_back = 0
        self.errors_count = Counts()
        self._errors: deque[dict[str, Any]] = deque(maxlen=LATEST_ERRORS)
        self._waited: dict[str, Histogram] = {}
        self._runs: dict[tuple[str, Hashable], _Runs] = {}
        self._by_name: dict[tuple[str, str], _Runs] = {}

    def ran(self, channel: str, outcome: str, consumer: Any, seconds: float) -> None:
        """The consumer of a message has ended."""
        try:
            runs = self._runs[channel, consumer]
        except (KeyError, TypeError):  # it is new, or cannot be a key
            runs = self._runs_of(channel, consumer)
        runs.outcomes[outcome] += 1
        runs.counts[bisect_left(BOUNDS, seconds)] += 1  # no call of `observe`: this is done for each message
        runs.sum += seconds

    def received(self, channel: str, waited: Sequence[float]) -> None:
        """Messages were taken off a channel, on which they had waited so long."""
        histogram = self._waited.get(channel)
        if histogram is None:
            name = channel if len(self._waited) < MOST_NAMES else OTHER
            histogram = self._waited.setdefault(name, Histogram())
        counts = histogram.counts
        for seconds in waited:
            counts[bisect_left(BOUNDS, seconds)] += 1
        histogram.sum += sum(waited)

    def failed(self, channel: str, consumer: str, error: BaseException) -> None:
        """A consumer has raised an error."""
        self.errors_count.add(type(error).__name__)
        # The innermost calls alone: to write down a thousand of them takes long.
        lines = "".join(traceback.format_exception(error, limit=-MOST_CALLS))
        self._errors.append(
            {
                "at": time.time(),
                "channel": channel,
                "consumer": consumer,
                "error": "".join(traceback.format_exception_only(error)).strip()[:MOST_TRACEBACK],
                "traceback": lines[-MOST_TRACEBACK:],
            }
        )

    def content(self) -> dict[str, Any]:
        """The part of a report that is counted here."""
        messages: dict[str, Counts] = {}
        consumers: dict[str, dict[str, Any]] = {}
        for runs in list(self._by_name.values()):
            counts, total = list(runs.counts), runs.sum
            by_channel = messages.setdefault(runs.channel, Counts())
            found = consumers.setdefault(
                runs.consumer, {"outcomes": Counts(), "seconds": {"counts": [0] * len(counts), "sum": 0.0}}
            )
            for outcome, number in list(runs.outcomes.items()):
                by_channel.add(outcome, number)
                found["outcomes"].add(outcome, number)
            seconds = found["seconds"]
            seconds["counts"] = [a + b for a, b in zip(seconds["counts"], counts, strict=True)]
            seconds["sum"] += total
        return {
            "messages": messages,
            "waited": {channel: histogram.content() for channel, histogram in list(self._waited.items())},
            "consumers": consumers,
            "errors": list(self._errors),
            "errors_count": dict(self.errors_count),
            "given_back": self.given_back,
        }

    def _runs_of(self, channel: str, consumer: Any) -> _Runs:
        """The counts of all consumers on a channel that have the name of this one."""
        name = channel, name_of(consumer)
        if name not in self._by_name and len(self._by_name) >= MOST_NAMES:
            name = OTHER, OTHER
        runs = self._by_name.setdefault(name, _Runs(*name))
        if len(self._runs) < MOST_NAMES and isinstance(consumer, Hashable):
            self._runs[channel, consumer] = runs
        return runs


def name_of(consumer: object) -> str:
    """The dotted path of a consumer."""
    if consumer is None:
        return NO_CONSUMER
    return f"{getattr(consumer, '__module__', '?')}.{getattr(consumer, '__qualname__', type(consumer).__qualname__)}"
