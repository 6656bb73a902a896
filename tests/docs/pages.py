"""The pages of the documentation, and what else of the repository is written in Markdown for its users."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
EVERYTHING = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "benchmarks").glob("*.md")), *PAGES]

_FENCE = re.compile(r"^( *)(`{3,})(.*)\n((?:.*\n)*?)\1\2$", re.MULTILINE)
_LABEL = re.compile(r"^\(([\w-]+)\)=$", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} (.+?)#*$", re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of a page in a language other than Python."""
    return [fence.group(4) for fence in _FENCE.finditer(page.read_text()) if fence.group(3).strip() == language]


def examples(page: Path) -> list[tuple[int, str]]:
    """Line and code of the Python examples of a page."""
    text = page.read_text()
    return [
        (text.count("\n", 0, fence.start()) + 2, fence.group(4))
        for fence in _FENCE.finditer(text)
        if fence.group(3).strip() == "python"
    ]


def prose(page: Path) -> str:
    """A page without its blocks and without code in the text."""
    return re.sub(r"`[^`\n]*`", "``", _FENCE.sub("", page.read_text()))


@cache
def anchors(page: Path) -> frozenset[str]:
    """What a link to a page may have behind its ``#``."""
    text = _FENCE.sub("", page.read_text())
    headings = {_slug(heading) for heading in _HEADING.findall(text)}
    return frozenset(headings | set(_LABEL.findall(text)))


def _slug(heading: str) -> str:
    """The anchor that both GitHub and MyST make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
