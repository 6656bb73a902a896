"""What is shipped for Prometheus, Grafana and Kubernetes uses metrics that exist, as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from channel_layer.metrics import ALL

from .pages import ROOT

yaml = pytest.importorskip("yaml")

OPERATIONS = ROOT / "contrib" / "operations"
METRICS = {metric.name: metric for metric in ALL}


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((OPERATIONS / "alerts.yaml").read_text())["groups"]
    return list(group["rules"])


def expressions() -> Iterator[tuple[str, str]]:
    """Queries, with what they are for."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in json.loads((OPERATIONS / "grafana.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for trigger in yaml.safe_load((OPERATIONS / "keda.yaml").read_text())["spec"]["triggers"]:
        yield "keda", trigger["metadata"]["query"]
    yield "hpa", re.findall(r"metricsQuery: '(.*)'", (OPERATIONS / "hpa.yaml").read_text())[0]


@pytest.mark.parametrize(("name", "expression"), list(expressions()))
def test_a_query_uses_metrics_and_labels_that_exist(name: str, expression: str) -> None:
    used = re.findall(r"\bmillrace_\w+", expression)
    assert used, name
    known: set[str] = {"le", "job", "instance"}
    for sample in used:
        metric = METRICS.get(sample) or METRICS.get(sample.removesuffix("_bucket"))
        assert metric is not None, sample
        assert (metric.kind == "histogram") == sample.endswith("_bucket"), sample
        assert (metric.kind != "gauge") == bool(re.search(rf"(rate|increase)\({sample}[^)]*\[", expression)), sample
        known |= set(metric.labels)
    labels = re.findall(r"by \(([^)]*)\)", expression) + re.findall(r"\{(\w+)[=!]", expression)
    assert {label.strip() for group in labels for label in group.split(",")} <= known, name
    assert expression.count("(") == expression.count(")")


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    assert len(rules()) >= 10
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "action"}, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert re.fullmatch(r"Millrace[A-Za-z]+", rule["alert"])


def test_labels_in_the_text_of_an_alert_are_those_of_its_result() -> None:
    for rule in rules():
        shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in group.split(",")}
        assert shown <= grouped or not re.search(r"\b(sum|max)\b", rule["expr"]), rule["alert"]


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    places = [panel["gridPos"] for panel in json.loads((OPERATIONS / "grafana.json").read_text())["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
