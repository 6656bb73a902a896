"""The examples in the documentation, to be run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^```\S+\n(?:#|<!--) (\S+\.\w+)(?: -->)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_examples(page: str, module: str, **given: Any) -> dict[str, Any]:
    """Run the Python blocks of a page, one after the other, as one module; returns its names."""
    text = (DOCS / page).read_text()
    names: dict[str, Any] = {"__name__": module, **given}
    blocks = list(_BLOCK.finditer(text))
    assert blocks, f"{page} has no examples"
    for block in blocks:
        line = text.count("\n", 0, block.start()) + 1
        exec(compile("\n" * line + block.group(1), str(DOCS / page), "exec"), names)
    return names


def shown_files(page: str) -> dict[str, list[str]]:
    """The files that a page shows, in blocks that begin with a path; path → its versions, one for each block."""
    files: dict[str, list[str]] = {}
    for path, content in _FILE.findall((DOCS / page).read_text()):
        files.setdefault(path, []).append(content)
    assert files, f"{page} shows no files"
    return files
