"""Tests of benchmarks.theme."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from benchmarks.theme import COLOURS, colour, themed

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
