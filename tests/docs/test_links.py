"""Links inside the repository lead somewhere, in the repository itself and not only on the site.

README.md is shown where the repository's files are not, on the package index. Its links name a file each, and lead to
where that can be read.
"""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from .pages import EVERYTHING, ROOT, anchors, prose

README = ROOT / "README.md"

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_NAMED = re.compile(r"\]\[([^\]\s]+)\]")
_DEFINITION = re.compile(r"^\[([^\]]+)\]: (\S+)$", re.MULTILINE)


def broken(page: Path) -> list[str]:
    """Links of a page that lead nowhere."""
    found = []
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", EVERYTHING, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


@pytest.mark.parametrize("link", ["missing.md", "other.md#nowhere", "#nowhere"])
def test_a_broken_link_would_be_found(tmp_path: Path, link: str) -> None:
    (tmp_path / "other.md").write_text("# Other\n")
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n[good](other.md#other), [good](#page), [bad]({link}), `[code](nowhere)`\n")
    assert broken(page) == [link]


def project_urls() -> dict[str, str]:
    """The addresses of the project that the package index shows."""
    setup = configparser.ConfigParser(delimiters=["="])
    setup.read(ROOT / "setup.cfg")
    return dict(line.split(" = ") for line in setup["metadata"]["project_urls"].split("\n") if line)


def published(path: str) -> str:
    """The address where a file of the repository, or a folder, can be read."""
    addresses = project_urls()
    if path.startswith("docs/") and path.endswith(".md"):
        return f"{addresses['Documentation']}en/latest/{path.removeprefix('docs/').removesuffix('.md')}.html"
    view = "tree" if path.endswith("/") else "raw" if path.endswith(".svg") else "blob"
    return f"{addresses['Source']}/{view}/main/{path.rstrip('/')}"


def test_the_links_of_the_readme_work_on_the_package_index() -> None:
    text = prose(README)
    named, defined = set(_NAMED.findall(text)), dict(_DEFINITION.findall(text))
    assert {"CHANGELOG.md", "docs/benchmark.svg", "docs/getting-started.md"} <= named
    assert defined == {path: published(path) for path in named}
    assert [path for path in named if not (ROOT / path).exists()] == []
    assert [link for link in _LINK.findall(text) if not link.startswith(("https://", "#"))] == []


def test_the_addresses_of_the_project_are_those_of_its_repository_and_its_site() -> None:
    addresses = project_urls()
    assert set(addresses) == {"Documentation", "Source", "Issues", "Changelog"}
    assert addresses["Issues"] == f"{addresses['Source']}/issues"
    assert addresses["Changelog"] == published("CHANGELOG.md")
