"""Snapshots of all processes for the page, which compares each with the one before."""

from __future__ import annotations

import json
from typing import Any

from channel_layer.exceptions import LayerUnavailable, clause
from channel_layer.layer import ChannelLayer
from channel_layer.reports import REPORTS, Report
from channels.operations.overview import process_as_json

NO_REPORTS = "this channel layer keeps no reports of its processes; the Redis, SQLite and memory layers do"


async def take(layer: ChannelLayer) -> str:
    """The reports of all processes as JSON: ``processes``, or ``error`` with a sentence if there are none to be had."""
    if REPORTS not in getattr(layer, "extensions", ()):
        return _without(layer, NO_REPORTS)
    try:
        return _text(layer, await layer.areports())
    except LayerUnavailable as error:
        return _without(layer, clause(error))


def _without(layer: ChannelLayer, sentence: str) -> str:
    return json.dumps({"layer": layer.describe(), "error": sentence})


def _text(layer: ChannelLayer, reports: list[Report]) -> str:
    processes = [_process(report) for report in reports]
    processes.sort(key=lambda process: (process["kind"] != "web", process["name"]))
    return json.dumps({"layer": layer.describe(), "processes": processes}, default=str)


def _process(report: Report) -> dict[str, Any]:
    return {"kind": "unknown", **process_as_json(report), "age": round(report.age, 1)}
