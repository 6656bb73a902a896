"""Metrics that are made of reports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.facts import BOUNDS, LOST_SECONDS
from channel_layer.memory import MemoryChannelLayer
from channel_layer.metrics import ALL, MOST_CHANNELS, Metrics
from channel_layer.reports import Report

pytest.importorskip("prometheus_client")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def histogram(*counts: int, total: float = 0.0) -> dict[str, Any]:
    return {"counts": [*counts, *[0] * (len(BOUNDS) + 1 - len(counts))], "sum": total}


def worker(**more: Any) -> dict[str, Any]:
    return {"kind": "worker", "state": "running", "version": "1.0", "bounds": list(BOUNDS), **more}


def samples(*reports: Report, layer: Any = None, metrics: Metrics | None = None) -> dict[str, float]:
    """What is exported, by name and labels as the text format writes them."""
    _, content = (metrics or Metrics(lambda: reports, layer or MemoryChannelLayer())).render()
    lines = [line for line in content.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_processes_are_added_up() -> None:
    found = samples(
        Report("worker.a", worker(busy=1, messages={"mail": {"ok": 2}}, layer={"up": True}), 0.0),
        Report("worker.b", worker(busy=2, messages={"mail": {"ok": 3, "failed": 1}}, layer={"up": False}), 0.0),
        Report("daphne.c", {"kind": "web", "state": "running", "sockets": {"/chat/": 7}, "frames": 9}, 0.0),
    )
    assert found["millrace_threads_busy"] == 3
    assert found['millrace_messages_total{channel="mail",outcome="ok"}'] == 5
    assert found['millrace_messages_total{channel="mail",outcome="failed"}'] == 1
    assert found["millrace_layer_up"] == 1
    assert found['millrace_websockets_open{path="/chat/"}'] == 7
    assert found["millrace_frames_total"] == 9
    assert found['millrace_processes{kind="worker",version="1.0"}'] == 2


def test_the_ranges_of_a_histogram_add_up_as_prometheus_wants_them() -> None:
    found = samples(
        Report("worker.a", worker(waited={"mail": histogram(1, 2, total=0.5)}), 0.0),
        Report("worker.b", worker(waited={"mail": histogram(0, 1, total=0.25)}), 0.0),
    )
    assert found['millrace_wait_seconds_bucket{channel="mail",le="0.001"}'] == 1
    assert found['millrace_wait_seconds_bucket{channel="mail",le="0.0025"}'] == 4
    assert found['millrace_wait_seconds_bucket{channel="mail",le="+Inf"}'] == 4
    assert found['millrace_wait_seconds_count{channel="mail"}'] == 4
    assert found['millrace_wait_seconds_sum{channel="mail"}'] == 0.75


def test_consumers_have_their_times() -> None:
    consumers = {"project.consumers.receive": {"outcomes": {"ok": 1}, "seconds": histogram(1, total=0.001)}}
    found = samples(Report("worker.a", worker(consumers=consumers), 0.0))
    assert found['millrace_consumer_seconds_count{consumer="project.consumers.receive"}'] == 1


def test_what_a_process_counted_is_still_counted_when_it_has_ended() -> None:
    first, second = worker(frames=0, given_back=5, busy=3), worker(given_back=1, busy=1)
    reports = [Report("worker.a", first, 0.0), Report("worker.b", second, 0.0)]
    metrics = Metrics(lambda: reports, MemoryChannelLayer())
    assert samples(metrics=metrics)["millrace_messages_given_back_total"] == 6
    reports[0] = Report("worker.a", {**first, "given_back": 7, "state": "ended"}, 0.0)
    found = samples(metrics=metrics)
    assert found["millrace_messages_given_back_total"] == 8
    assert found["millrace_threads_busy"] == 1
    del reports[0]
    assert samples(metrics=metrics)["millrace_messages_given_back_total"] == 8
    reports[0] = reports[0]._replace(age=LOST_SECONDS + 1)
    found = samples(metrics=metrics)
    assert found["millrace_messages_given_back_total"] == 8
    assert "millrace_threads_busy" not in found


def test_of_a_report_in_another_format_what_is_understood_is_exported() -> None:
    content = worker(format=99, bounds=[1, 2], waited={"mail": histogram(1)}, messages=[7], busy="many", threads=4)
    found = samples(Report("worker.a", content, 0.0))
    assert found["millrace_threads"] == 4
    assert not [
        name for name in found if name.startswith(("millrace_wait", "millrace_messages_total", "millrace_threads_busy"))
    ]


def test_the_layer_is_asked_about_the_channels_of_workers_and_servers() -> None:
    layer = MemoryChannelLayer()
    layer.send("mail", {})
    layer.send("http.request", {})
    found = samples(Report("worker.a", worker(channels=["mail"]), 0.0), layer=layer)
    assert found['millrace_channel_pending{channel="mail"}'] == 1
    assert found['millrace_channel_pending{channel="http.request"}'] == 1
    assert found['millrace_channel_sent_total{channel="mail"}'] == 1
    assert found['millrace_channel_oldest_seconds{channel="mail"}'] >= 0


def test_the_layer_is_asked_about_so_many_channels_and_no_more() -> None:
    channels = [f"channel-{number}" for number in range(MOST_CHANNELS * 2)]
    found = samples(Report("worker.a", worker(channels=channels), 0.0))
    assert len([name for name in found if name.startswith("millrace_channel_pending{")]) == MOST_CHANNELS


def test_while_the_layer_is_away_the_rest_is_exported() -> None:
    class Away(MemoryChannelLayer):
        def channel_statistics(self, channel: str) -> Any:
            raise LayerUnavailable("here", "gone")

    found = samples(Report("worker.a", worker(threads=4, layer={"up": False}), 0.0), layer=Away())
    assert (found["millrace_threads"], found["millrace_layer_up"]) == (4, 0)
    assert not [name for name in found if name.startswith("millrace_channel")]


def test_a_scraper_gets_the_format_that_it_asks_for() -> None:
    metrics = Metrics(lambda: [Report("worker.a", worker(given_back=1), 0.0)], MemoryChannelLayer())
    content_type, content = metrics.render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert content.endswith(b"# EOF\n")


def test_names_are_those_that_prometheus_recommends() -> None:
    for metric in ALL:
        assert re.fullmatch(r"millrace_[a-z]+(_[a-z]+)*", metric.name), metric
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric
        assert metric.kind != "histogram" or metric.name.endswith("_seconds"), metric
    assert len({metric.name for metric in ALL}) == len(ALL)


def test_the_page_describes_every_metric_as_it_is() -> None:
    rows = re.findall(r"^\| `(millrace_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$", PAGE.read_text(), re.MULTILINE)
    described = [
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)), meaning.strip()) for name, kind, labels, meaning in rows
    ]
    assert described == [(metric.name, metric.kind, metric.labels, metric.meaning) for metric in ALL]
