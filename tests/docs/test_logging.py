"""The page about the log has every logger and every counter."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

from channel_layer.layer import Counters
from channel_layer.memory import MemoryChannelLayer
from tests.test_house import ROOMS

from .pages import DOCS, ROOT

PAGE = (DOCS / "logging.md").read_text()


def loggers(module: Path) -> set[str]:
    """Names of the loggers that a module of a room gets."""
    dotted = ".".join(module.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "logging.getLogger" and node.args:
            [name] = node.args
            if isinstance(name, ast.Constant):
                found.add(str(name.value))
            elif ast.unparse(name) == "__name__":
                found.add(dotted)
    return found


def test_every_logger_is_on_the_page_and_no_other() -> None:
    in_code = set().union(*(loggers(module) for room in ROOMS for module in (ROOT / room).rglob("*.py")))
    on_page = set(re.findall(r"^\| `([\w.]+)` (?:DEBUG|INFO|WARNING|ERROR)", PAGE, re.MULTILINE))
    assert {"interface_server", "workers.runner", "channels.sessions", "django.request"} <= in_code
    assert sorted(in_code - on_page) == []
    assert sorted(on_page - in_code) == []


def test_every_counter_and_statistic_is_on_the_page() -> None:
    layer = MemoryChannelLayer()
    counted = {field.name for field in dataclasses.fields(Counters)}
    counted |= layer.global_statistics().keys() | layer.channel_statistics("one").keys()
    assert set(re.findall(r"^\| `(\w+)` \| [a-z]", PAGE, re.MULTILINE)) == counted
