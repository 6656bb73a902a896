"""Links inside the repository lead somewhere, in the repository itself and not only on the site."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .pages import EVERYTHING, ROOT, anchors, prose

_LINK = re.compile(r"\]\(([^)\s]+)\)")


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
