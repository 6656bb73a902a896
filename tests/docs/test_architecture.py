"""What the description of the house names is there."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.test_house import ROOMS

from .pages import DOCS, ROOT

ARCHITECTURE = DOCS / "architecture.md"
PATH = re.compile(r"`([\w./-]+(?:/|\.(?:py|lua|md|toml)))`")


def named(page: Path) -> set[str]:
    """Files and folders of the repository that a page names as code."""
    return set(PATH.findall(page.read_text()))


@pytest.mark.parametrize("page", [ARCHITECTURE, DOCS / "decisions.md"], ids=lambda page: page.name)
def test_every_path_in_it_exists(page: Path) -> None:
    found = named(page)
    assert found
    assert [path for path in sorted(found) if not (ROOT / path).exists()] == []


def test_every_room_and_every_package_inside_is_described() -> None:
    packages = [str(path.parent.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).glob("*/__init__.py")]
    assert "interface_server/bridge" in packages
    text = ARCHITECTURE.read_text()
    assert [name for name in [*ROOMS, *packages] if f"`{name}/`" not in text] == []


def test_the_order_of_the_rooms_is_the_one_that_is_enforced() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [one["layers"] for one in contracts if "channels" in one.get("layers", ())]
    assert layers == ["channels", "workers | interface_server", "channel_layer | routing"]
    heights = {
        name: float(y)
        for y, name in re.findall(r'class="name" x="\d+" y="(\d+)">(\w+)<', (DOCS / "house.svg").read_text())
    }
    floors = [{heights[name] for name in floor.split(" | ")} for floor in layers]
    assert [len(floor) for floor in floors] == [1, 1, 1]
    assert sorted(floors, key=min) == floors


def test_the_libraries_in_the_picture_are_those_that_the_rooms_import() -> None:
    texts = re.findall(r'class="text" x="6\d\d" y="\d+">([^<]+)<', (DOCS / "house.svg").read_text())
    drawn = {name for text in texts for name in text.lower().replace(",", "").split()}
    assert {"django", "redis", "websockets"} <= drawn
    trees = [ast.parse(path.read_text()) for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = {name.name.partition(".")[0] for node in nodes if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module).partition(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    assert sorted(drawn - imported) == []
