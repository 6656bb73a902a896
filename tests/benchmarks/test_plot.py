"""Tests of benchmarks.plot: what is drawn. The drawing itself needs a library that the tests do not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import plot
from benchmarks.peers import PEERS
from benchmarks.plot import COLOURS, caption, colour, panels, themed
from benchmarks.report import Results, as_json
from benchmarks.works import Sample, Work

LATENCY = Work("http", 1, latency=True)
RATE = Work("echo", 200)
GROUP = Work("group", 2_000)


def data() -> dict[str, Any]:
    """A run's JSON: nchan took part in the group alone, and nobody finished it."""
    peers = [PEERS[name] for name in ("millrace", "channels1", "nchan")]
    results = Results({"processor": "2 × Test", "Python": "CPython 3.11.7"}, 3.0, [LATENCY, RATE, GROUP], peers)
    for rate in (30_000, 20_000, 40_000):
        results.add(RATE, peers[0], Sample(rate, 0.006, 0.009, 2.0, 60_000))
    results.add(RATE, peers[1], Sample(412, 0.4, 0.9, 2.0, 824))
    results.add(LATENCY, peers[0], Sample(2_500, 0.0004, 0.001, 2.0, 5_000))
    return json.loads(json.dumps(as_json(results)))


def test_rates_come_first_then_latencies_each_with_what_it_counts():
    assert [panel[:2] for panel in panels(data())] == [
        ("WebSocket echo, 200 sockets", "echoes per second"),
        ("HTTP, 1 connection", "time until the answer, median: shorter is better"),
    ]


def test_bars_are_medians_of_the_peers_that_were_measured():
    rate, latency = panels(data())
    assert rate[2] == [("millrace", "Millrace", 30_000, "30,000"), ("channels1", "Channels 1.1.8", 412, "412")]
    assert latency[2] == [("millrace", "Millrace", 0.0004, "0.40 ms")]


def test_the_caption_says_how_it_was_measured():
    assert caption(data()) == "Median of 3 rounds, payload 100 bytes, 2 × Test, CPython 3.11.7"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "Expecting"),
        ('{"samples": {}}', "works"),
        ('{"works": [], "peers": {}, "samples": {}}', "holds no figures"),
    ],
)
def test_a_file_that_is_not_a_run_is_refused(
    text: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "run.json"
    path.write_text(text)
    assert plot.main([str(path)]) == 1
    assert sentence in capsys.readouterr().err
    assert not path.with_suffix(".svg").exists()


PICTURE = f"""<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" width="10"><path style="fill: {colour("ours")}"/></svg>"""


def test_colours_are_named_where_they_are_used():
    root = ElementTree.fromstring(themed(PICTURE))
    assert [part.get("style") for part in root if part.tag.endswith("path")] == ["fill: var(--ours)"]


def test_every_name_has_a_value_for_light_and_another_one_for_dark():
    style = next(part.text for part in ElementTree.fromstring(themed(PICTURE)) if part.tag.endswith("style"))
    light, dark = style.split("@media(prefers-color-scheme:dark)")
    for text, place in ((light, 0), (dark, 1)):
        assert dict(re.findall(r"--(\w+):(#\w+)", text)) == {name: pair[place] for name, pair in COLOURS.items()}
