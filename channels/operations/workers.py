"""Health and metrics of workers, on a port of their own."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator

from django.core.management.base import CommandError

from channel_layer.facts import LOST_SECONDS, number, part, verdict
from channel_layer.layer import ChannelLayer
from channel_layer.metrics import HOW_TO_INSTALL, Metrics, is_available
from channel_layer.reports import REPORTS, Report
from interface_server.monitoring import ALL_WELL, Answers, Condition, Port
from interface_server.options import OptionsError
from workers import Supervisor, Worker


def check_metrics(place: str, layer: ChannelLayer, processes: int) -> None:
    """Refuse metrics that cannot be had; raises `CommandError`."""
    if not place:
        return
    if not is_available():
        raise CommandError(f"--metrics needs the package prometheus-client; install it: {HOW_TO_INSTALL}")
    if processes > 1 and REPORTS not in layer.extensions:
        raise CommandError(
            f"--metrics with --processes needs a channel layer with the extension {REPORTS!r}, which this one "
            "lacks; start the processes one by one, each with a port of its own"
        )


@contextlib.contextmanager
def served(place: str, answers: Answers) -> Iterator[None]:
    """Answer on a port while the block runs; none if the place is empty. Raises `CommandError`."""
    if not place:
        yield
        return
    try:
        port = Port(place, answers)
    except OptionsError as error:
        raise CommandError(str(error)) from error
    port.start()
    try:
        yield
    finally:
        port.close()


def answers_of_worker(worker: Worker, layer: ChannelLayer) -> Answers:
    """The answers of one worker, from what it counts itself."""

    def ready() -> Condition:
        if not (alive := _turns(worker.ticked)).good:
            return alive
        if worker.termed:
            return Condition(False, "the worker is about to end")
        return ALL_WELL if worker.reaches_layer else Condition(False, "the channel layer is away")

    def reports() -> list[Report]:
        return [Report(worker.name, worker.report("draining" if worker.termed else "running"), 0.0)]

    return Answers(lambda: _turns(worker.ticked), ready, Metrics(reports, layer).render)


def answers_of_supervisor(supervisor: Supervisor, layer: ChannelLayer) -> Answers:
    """The answers for all processes of a supervisor, from what they have reported."""
    children = Children(layer)

    def ready() -> Condition:
        if not (alive := _turns(supervisor.ticked)).good:
            return alive
        if supervisor.is_stopping:
            return Condition(False, "the workers are about to end")
        working = [report for report in children.reports() if verdict(report) == "running"]
        if any(part(report.content, "layer").get("up") for report in working):
            return ALL_WELL
        return Condition(False, "no worker process has reported that it works")

    return Answers(lambda: _turns(supervisor.ticked), ready, Metrics(children.reports, layer).render)


class Children:
    """Reports of the processes that this one supervises.

    While the layer is away, the last ones stand; they grow old.

    Args:
        layer: keeps the reports.
    """

    def __init__(self, layer: ChannelLayer, clock: Callable[[], float] = time.monotonic) -> None:
        self._layer = layer
        self._clock = clock
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._last: list[Report] = []
        self._read_at = clock()

    def reports(self) -> list[Report]:
        """Read them anew."""
        now = self._clock()
        try:
            found = self._layer.reports()
        except Exception:
            passed = now - self._read_at
            return [report._replace(age=report.age + passed) for report in self._last]
        self._read_at = now
        self._last = [
            report
            for report in found
            if number(report.content, "parent") == self._pid and report.content.get("host") == self._host
        ]
        return self._last


def _turns(ticked: float) -> Condition:
    late = time.monotonic() - ticked
    if late > LOST_SECONDS:
        return Condition(False, f"the main thread has not moved for {late:.0f} seconds")
    return ALL_WELL
