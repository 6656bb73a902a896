"""`interface_server.help`: what ``daphne --help`` shows."""

from __future__ import annotations

import re

from click.testing import CliRunner

from interface_server.cli import main
from interface_server.help import SECTIONS


def test_each_option_stands_below_a_heading_once() -> None:
    said = CliRunner().invoke(main, ["--help"]).output
    headings = re.findall(r"^(\w.*):$", said, re.MULTILINE)
    assert headings == [*SECTIONS, "More"]
    in_more = re.findall(r"^  (?:-\w, )?--([\w-]+)", said.partition("More:")[2], re.MULTILINE)
    assert sorted(in_more) == ["help", "version"]
    named = [name for names in SECTIONS.values() for name in names]
    known = {parameter.name for parameter in main.params}
    assert len(named) == len(set(named))
    assert set(named) <= known
    options = re.findall(r"^  (?:-\w, )?--([\w-]+)", said, re.MULTILINE)
    assert len(options) == len(set(options)) == len(named) + 2


def test_every_section_comes_with_its_options() -> None:
    said = CliRunner().invoke(main, ["--help"]).output
    listening = said.partition("Where to listen:")[2].partition("Log:")[0]
    for option in ("--port", "--bind", "--unix-socket", "--fd", "--endpoint", "--ssl-certfile"):
        assert option in listening
