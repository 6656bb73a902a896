"""What is shipped for Prometheus, Grafana and Kubernetes uses metrics that exist, and the guide has every alert."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from channel_layer.facts import lost_by_layer
from channel_layer.layer import Counters
from channel_layer.metrics import ALL
from channel_layer.redis.permissions import IN_SCRIPTS, ON_THEIR_OWN
from tests.test_house import ROOMS

from .pages import DOCS, ROOT

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


GUIDE = (DOCS / "operations.md").read_text()
SECURITY = (DOCS / "security.md").read_text()


def test_every_alert_has_its_heading_in_the_guide_and_no_other() -> None:
    headings = re.findall(r"^### (Millrace\w+)$\n\n\*(\w+)\.\*", GUIDE, re.MULTILINE)
    assert headings == [(rule["alert"], rule["labels"]["severity"].capitalize()) for rule in rules()]


def test_every_metric_in_the_guides_exists() -> None:
    for page in ("operations.md", "troubleshooting.md", "sizing.md", "load-balancing.md"):
        used = set(re.findall(r"\b(millrace_\w+)", (DOCS / page).read_text()))
        assert used, page
        assert {re.sub("_(sum|bucket|count)$", "", name) for name in used} <= METRICS.keys(), page


def reasons() -> set[str]:
    """All reasons for which messages are lost: the words that the rooms count with."""
    found = set(lost_by_layer(Counters()))
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("facts.lost.add"):
                found |= {str(part.value) for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)}
    return found - {"None"}


def test_every_reason_of_a_loss_is_in_the_guide_and_no_other() -> None:
    [table] = re.findall(r"^\| reason \|.*\n\|[-|]+\n((?:\|.*\n)+)", GUIDE, re.MULTILINE)
    on_page = {name for row in table.splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert {"expired", "channel full", "not given back"} <= on_page
    assert on_page == reasons()


def texts_in_code() -> str:
    """All texts of the rooms, each on a line."""
    paths = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    constants = [node for path in paths for node in ast.walk(ast.parse(path.read_text()))]
    return "\n".join(node.value for node in constants if isinstance(node, ast.Constant) and isinstance(node.value, str))


def test_sentences_that_are_to_be_looked_for_are_what_the_code_says() -> None:
    said = texts_in_code().replace("%d ", "").replace("%s ", "")
    page = re.sub(r"```.*?```", "", (DOCS / "troubleshooting.md").read_text(), flags=re.DOTALL)
    quoted = [text for text in re.findall(r"`([^`]+)`", page) if text.count(" ") > 4]
    pieces = [piece.strip() for text in quoted for piece in re.split(r"…|\d+ s\b|\d+ |[;:,]", text)]
    phrases = [piece for piece in pieces if piece.count(" ") >= 3 and "websocket." not in piece]
    assert len(phrases) > 6
    assert [phrase for phrase in phrases if phrase not in said] == []


def test_the_smallest_rights_in_redis_are_those_that_are_checked() -> None:
    granted = set(re.findall(r"\+([\w|]+)", next(line for line in SECURITY.splitlines() if "+evalsha" in line)))
    needed = {name.lower() for name in IN_SCRIPTS}
    needed |= {"script|load" if call.startswith("SCRIPT") else call.split()[0].lower() for call in ON_THEIR_OWN}
    assert granted >= needed
    assert granted - needed == {"client|id", "client|unblock"}  # with which a worker stops sooner
