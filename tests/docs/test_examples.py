"""The examples are Python, and each page's are run by some test."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from .pages import DOCS, PAGES, ROOT, examples

WITH_EXAMPLES = [page for page in PAGES if examples(page)]


def is_python(code: str) -> bool:
    """Whether code can be compiled, as it is or as entries of a dict."""
    for text in (code, f"{{{textwrap.dedent(code)}}}"):
        try:
            compile(text, "example", "exec")
        except SyntaxError:
            continue
        return True
    return False


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_examples_of_a_page_are_python(page: Path) -> None:
    assert [line for line, code in examples(page) if not is_python(code)] == []


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_examples_of_a_page_are_run_by_a_test(page: Path) -> None:
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if "docs" not in path.parts]
    assert [path for path in tests if f'"{page.relative_to(DOCS)}"' in path.read_text()]
