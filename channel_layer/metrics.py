"""Metrics for Prometheus, made of the reports of processes when they are asked for.

`METRICS` names every one; docs/metrics.md describes them. Label values are those of reports, of which each table has a
bounded number, so their number is bounded too. Needs the package ``prometheus-client``, the extra ``metrics``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from .exceptions import LayerUnavailable
from .facts import BOUNDS, is_alive, number, part, texts, version
from .layer import ChannelLayer
from .messages import CONNECT, DISCONNECT, HTTP_REQUEST, RECEIVE
from .reports import Report

Kind = Literal["gauge", "counter", "histogram"]

HOW_TO_INSTALL: Final = "pip install 'django-millrace[metrics]'"

MOST_CHANNELS: Final = 50
"""Channels that the layer is asked about, at most."""

OF_SERVERS: Final = (HTTP_REQUEST, CONNECT, RECEIVE, DISCONNECT)
"""Channels to which every interface server sends."""


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: as Prometheus has it; that of a counter ends with ``_total``.
        kind: see the documentation of Prometheus.
        meaning: in a sentence without a full stop.
        path: keys that lead to it in a report.
        labels: names of the labels, one for each level of tables below the path.
        inner: the key of the value in the innermost table, if it is a table as well.
        of: the kind of process that reports it; both if it is empty.
    """

    name: str
    kind: Kind
    meaning: str
    path: tuple[str, ...]
    labels: tuple[str, ...] = ()
    inner: str = ""
    of: str = ""


METRICS: Final = (
    Metric("millrace_websockets_open", "gauge", "Open WebSockets, by path", ("sockets",), ("path",), of="web"),
    Metric(
        "millrace_handshakes_total",
        "counter",
        "Handshakes that have ended, by result",
        ("handshakes",),
        ("result",),
        of="web",
    ),
    Metric("millrace_handshakes_waiting", "gauge", "Handshakes that wait for a consumer", ("handshaking",), of="web"),
    Metric(
        "millrace_websockets_closed_total",
        "counter",
        "WebSockets that have ended, by cause",
        ("closes",),
        ("cause",),
        of="web",
    ),
    Metric("millrace_requests_open", "gauge", "Requests under way", ("requesting",), of="web"),
    Metric("millrace_requests_total", "counter", "Requests answered, by status", ("requests",), ("status",), of="web"),
    Metric(
        "millrace_refusals_total",
        "counter",
        "Connections refused before there was a request, by status",
        ("refused",),
        ("status",),
        of="web",
    ),
    Metric(
        "millrace_request_seconds",
        "histogram",
        "Time from a request to the end of its response",
        ("request_seconds",),
        of="web",
    ),
    Metric(
        "millrace_turn_seconds",
        "histogram",
        "Time from when a frame was stored to the end of its turn",
        ("turn_seconds",),
        of="web",
    ),
    Metric("millrace_frames_total", "counter", "Messages that clients of WebSockets sent", ("frames",), of="web"),
    Metric(
        "millrace_group_deliveries_total",
        "counter",
        "Messages through groups, once for each member reached",
        ("deliveries",),
        of="web",
    ),
    Metric("millrace_outbox_bytes", "gauge", "Bytes that wait for clients of WebSockets", ("outbox_bytes",), of="web"),
    Metric(
        "millrace_read_ahead_bytes",
        "gauge",
        "Bytes read from WebSockets that wait for consumers",
        ("read_ahead_bytes",),
        of="web",
    ),
    Metric("millrace_uplink_bytes", "gauge", "Bytes that wait for the channel layer", ("uplink_bytes",), of="web"),
    Metric(
        "millrace_stalled_seconds_total",
        "counter",
        "Time for which the event loop was late",
        ("stalled_seconds",),
        of="web",
    ),
    Metric(
        "millrace_last_wills",
        "gauge",
        "WebSockets whose end others would tell if this process died",
        ("last_wills",),
        of="web",
    ),
    Metric(
        "millrace_layer_write_seconds",
        "histogram",
        "Round trips of writes to the channel layer",
        ("layer", "writes"),
        of="web",
    ),
    Metric(
        "millrace_messages_total",
        "counter",
        "Messages whose consumer has ended, by channel and outcome",
        ("messages",),
        ("channel", "outcome"),
        of="worker",
    ),
    Metric(
        "millrace_wait_seconds",
        "histogram",
        "Time for which messages had waited on their channel when they were taken",
        ("waited",),
        ("channel",),
        of="worker",
    ),
    Metric(
        "millrace_consumer_seconds",
        "histogram",
        "Time of consumers",
        ("consumers",),
        ("consumer",),
        "seconds",
        of="worker",
    ),
    Metric(
        "millrace_consumer_errors_total",
        "counter",
        "Errors of consumers, by exception",
        ("errors_count",),
        ("error",),
        of="worker",
    ),
    Metric("millrace_threads", "gauge", "Threads that run consumers", ("threads",), of="worker"),
    Metric("millrace_threads_busy", "gauge", "Threads that run one now", ("busy",), of="worker"),
    Metric("millrace_tasks", "gauge", "Consumers under way that are coroutines", ("tasks",), of="worker"),
    Metric("millrace_streams", "gauge", "Streaming responses under way", ("streams",), of="worker"),
    Metric("millrace_instances", "gauge", "Instances of applications of Channels 2 to 4", ("instances",), of="worker"),
    Metric(
        "millrace_checkpoints_total",
        "counter",
        "Checkpoints of instances that were sent",
        ("checkpoints",),
        of="worker",
    ),
    Metric(
        "millrace_messages_given_back_total",
        "counter",
        "Messages put back to their channel because nobody could begin them",
        ("given_back",),
        of="worker",
    ),
    Metric(
        "millrace_layer_receives_total",
        "counter",
        "Answers of the channel layer to receives",
        ("layer", "receives"),
        of="worker",
    ),
    Metric("millrace_layer_up", "gauge", "Processes that reach the channel layer", ("layer", "up")),
    Metric("millrace_layer_failures_total", "counter", "Calls to the channel layer that failed", ("layer", "failures")),
    Metric(
        "millrace_messages_lost_total",
        "counter",
        "Messages dropped or perhaps lost, by reason",
        ("layer", "lost"),
        ("reason",),
    ),
)
"""Those that are read from reports."""

PROCESSES: Final = Metric(
    "millrace_processes", "gauge", "Processes that this endpoint speaks for", (), ("kind", "version")
)
"""Counted from the reports."""

CHANNELS: Final = (
    Metric("millrace_channel_pending", "gauge", "Messages that wait on a channel", ("messages_pending",), ("channel",)),
    Metric(
        "millrace_channel_oldest_seconds",
        "gauge",
        "Time for which the oldest of them has waited",
        ("messages_max_age",),
        ("channel",),
    ),
    Metric(
        "millrace_channel_sent_total",
        "counter",
        "Messages sent to a channel, by all processes together",
        ("messages_count",),
        ("channel",),
    ),
    Metric(
        "millrace_channel_full_total",
        "counter",
        "Messages that a full channel refused",
        ("channel_full_count",),
        ("channel",),
    ),
)
"""Those that the layer knows, for all processes together. Every endpoint exports them: take the ``max``."""

ALL: Final = (*METRICS, PROCESSES, *CHANNELS)

Labels: TypeAlias = tuple[str, ...]
Values: TypeAlias = dict[Labels, float]
Buckets: TypeAlias = dict[Labels, tuple[list[float], float]]


def is_available() -> bool:
    """True if ``prometheus-client`` can be imported."""
    try:
        import prometheus_client  # noqa: F401
    except ImportError:
        return False
    return True


class Departed:
    """The reports that an endpoint speaks for, those of processes that have ended among them.

    Counters only grow: what a process has counted is still counted when another has taken its place.
    """

    def __init__(self) -> None:
        self._last: dict[str, Mapping[str, Any]] = {}
        self._gone: dict[Metric, tuple[Values, Buckets]] = {}

    def take(self, reports: Iterable[Report]) -> list[Mapping[str, Any]]:
        """Remember reports; returns those of the processes that are alive."""
        alive = {report.name: report.content for report in reports if is_alive(report)}
        seen = {report.name: report.content for report in reports}
        for name in self._last.keys() - alive.keys():
            before = self._last.pop(name)
            for metric in METRICS:
                if metric.kind != "gauge":
                    values, buckets = self._gone.setdefault(metric, ({}, {}))
                    _add(metric, seen.get(name, before), values, buckets)
        self._last.update(alive)
        return list(alive.values())

    def of(self, metric: Metric) -> tuple[Values, Buckets]:
        """Counts of a metric by processes that have ended."""
        values, buckets = self._gone.get(metric, ({}, {}))
        return dict(values), {labels: (list(counts), total) for labels, (counts, total) in buckets.items()}


class Metrics:
    """A collector for ``prometheus-client``.

    Args:
        reports: the reports to speak for, read anew each time.
        layer: asked about the channels.
    """

    def __init__(self, reports: Callable[[], Iterable[Report]], layer: ChannelLayer) -> None:
        self._reports = reports
        self._layer = layer
        self._departed = Departed()

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """The content type and the content of an answer, in the format that a scraper accepts.

        Blocks while it reads reports and asks the layer.
        """
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return content_type, encode(self)

    def collect(self) -> Iterator[Any]:
        """Yield the families of metrics, with what there is to say now."""
        contents = self._departed.take(list(self._reports()))
        for metric in METRICS:
            values, buckets = self._departed.of(metric)
            for content in contents:
                if metric.of in ("", content.get("kind")):
                    _add(metric, content, values, buckets)
            if values or buckets:
                yield _family(metric, values, buckets)
        processes: Values = {}
        for content in contents:
            labels = str(content.get("kind", "")), str(content.get("version", "") or version())
            processes[labels] = processes.get(labels, 0) + 1
        yield _family(PROCESSES, processes)
        yield from self._of_channels(contents)

    def _of_channels(self, contents: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
        """Ask the layer about the channels; one that is away, or has no statistics, leaves them out."""
        if "statistics" not in getattr(self._layer, "extensions", ()):
            return
        channels = {channel for content in contents for channel in texts(content, "channels")} | set(OF_SERVERS)
        found: dict[str, Mapping[str, float]] = {}
        try:
            for channel in sorted(channels)[:MOST_CHANNELS]:
                found[channel] = self._layer.channel_statistics(channel)
        except LayerUnavailable:
            return
        for metric in CHANNELS:
            yield _family(metric, {(channel,): number(counts, *metric.path) for channel, counts in found.items()})


def _add(metric: Metric, content: Mapping[str, Any], values: Values, buckets: Buckets) -> None:
    """Add what a report says of a metric to what others said."""
    *above, last = metric.path
    holder = part(content, *above)
    if last not in holder:
        return
    for labels, found in _leaves(holder[last], len(metric.labels)):
        value = found.get(metric.inner) if metric.inner and isinstance(found, Mapping) else found
        if metric.kind == "histogram":
            histogram = value if isinstance(value, Mapping) else {}
            counts = histogram.get("counts")
            if isinstance(counts, list) and len(counts) == len(BOUNDS) + 1 and content.get("bounds") == list(BOUNDS):
                before, total = buckets.get(labels, ([0.0] * len(counts), 0.0))
                buckets[labels] = [a + b for a, b in zip(before, counts, strict=True)], total + number(histogram, "sum")
        elif isinstance(value, (int, float)):
            values[labels] = values.get(labels, 0) + value


def _leaves(table: Any, depth: int) -> Iterator[tuple[Labels, Any]]:
    """Yield what stands so many levels deep, with the keys that lead to it."""
    if depth == 0:
        yield (), table
    elif isinstance(table, Mapping):
        for key, below in table.items():
            for labels, found in _leaves(below, depth - 1):
                yield (str(key), *labels), found


def _family(metric: Metric, values: Values, buckets: Buckets | None = None) -> Any:
    from prometheus_client import core

    if metric.kind == "histogram":
        histogram = core.HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
        for labels, (counts, total) in sorted((buckets or {}).items()):
            running, ranges = 0.0, []
            for bound, count in zip([*map(repr, BOUNDS), "+Inf"], counts, strict=True):
                running += count
                ranges.append((bound, running))
            histogram.add_metric(list(labels), buckets=ranges, sum_value=total)
        return histogram
    make = core.CounterMetricFamily if metric.kind == "counter" else core.GaugeMetricFamily
    family = make(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in sorted(values.items()):
        family.add_metric(list(labels), value)
    return family
