"""Links out of the documentation into the repository.

Read in the repository they lead to files. The site has no such files, so there they become their names;
the changelog has a page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGES = {"CHANGELOG.md": "changes.md"}
"""Files of the repository that are pages of the site."""

_LINK = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)(#[^)]*)?\)")


def _replace(link: re.Match[str]) -> str:
    text, path, anchor = link.groups()
    if path in PAGES:
        return f"[{text}]({PAGES[path]}{anchor or ''})"
    if not (ROOT / path).exists():
        return link.group()  # which Sphinx complains about
    name = f"`{path}`"
    return name if text == name or f"`{Path(path).name}`" == text else f"{text} ({name})"


def rewrite(app: Any, name: str, source: list[str]) -> None:
    """Rewrite the links of a page that is about to be read."""
    source[0] = _LINK.sub(_replace, source[0])


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.connect("source-read", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
