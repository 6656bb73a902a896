"""The documents are in present-day technical English, with the terms of the glossary."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .pages import DOCS, EVERYTHING, ROOT, prose

ARCHAIC = [
    "albeit", "amongst", "anew", "by and by", "ere", "for ever", "hence", "herein", "hither", "lest", "must needs",
    "shall", "therein", "thereof", "thither", "unto", "upon", "whence", "whereby", "wherein", "whichever", "whilst",
    "whoever", "whomever", "as ever", "of late", "aught", "naught", "dealt with",
]  # fmt: skip

OTHER_TERMS = {
    "sign of life": "heartbeat",
    "signs of life": "heartbeats",
    "backoff": "back-off",
    "nameless": "unnamed",
}
"""Words for a concept that the glossary calls otherwise, and what it is called."""

FOREIGN = re.compile("|".join(rf"\b{re.escape(turn)}\b" for turn in [*ARCHAIC, *OTHER_TERMS]), re.IGNORECASE)


def turns(text: str) -> list[str]:
    """Archaic turns and foreign terms in a text."""
    return sorted({found.lower() for found in FOREIGN.findall(" ".join(text.split()))})


@pytest.mark.parametrize("page", EVERYTHING, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_in_plain_words(page: Path) -> None:
    assert turns(prose(page)) == []


def test_an_archaic_turn_would_be_found() -> None:
    assert turns("It is opened\nanew, for\never, by whoever waits: where nobody waits, thereby nothing.") == [
        "anew",
        "for ever",
        "whoever",
    ]


def test_the_glossary_has_a_term_once() -> None:
    terms = [
        term
        for row in re.findall(r"^\| ([a-z][^|]*) \| [^|]+ \|$", (DOCS / "glossary.md").read_text(), re.MULTILINE)
        for term in row.split(", ")
    ]
    assert {"turn", "last will", "heartbeat"} <= set(terms)
    assert [term for term in sorted(set(terms) - {"term"}) if terms.count(term) > 1] == []


ROOMS = ("channel_layer", "routing", "workers", "interface_server", "channels", "benchmarks")
SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")) if ".env" not in path.parts]
"""Without the environments of the measured peers, which are somebody else's."""

UNCOUNTED = "longer|more|such|need|reason|limit|room|time|answer|reply|way|use"
INVERTED = re.compile(rf"(?<!there )\b(?:is|are|was|were) no\b(?! (?:{UNCOUNTED})\b)[^.;]*", re.IGNORECASE)
"""``x is no y``, where plain English says that it is not a y."""


def texts(source: str) -> Iterator[str]:
    """Docstrings, messages and other texts of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield " ".join(node.value.split())


def test_messages_and_docstrings_say_that_something_is_not_a_thing() -> None:
    found = [
        (path.name, turn) for path in SOURCES for text in texts(path.read_text()) for turn in INVERTED.findall(text)
    ]
    assert found == []


def test_an_inverted_negation_would_be_found() -> None:
    assert INVERTED.findall("There is no port. 7 is no longer free; 70000 is no port") == ["is no port"]


OPENERS = re.compile(r"(?:What|Whether|Who|Whose|Whom|That|How|Why|Where|When|Which)\b")
"""First words that turn a docstring into a riddle; a noun phrase or an imperative says what it is about."""


def docstrings(source: str) -> Iterator[str]:
    """Docstrings of modules, classes and functions, and those behind constants and attributes."""
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                yield str(statement.value.value)


def test_a_docstring_opens_with_a_noun_phrase_or_an_imperative() -> None:
    found = [(path, text.split("\n")[0]) for path in SOURCES for text in docstrings(path.read_text())]
    assert len(found) > 1_000
    assert [entry for entry in found if OPENERS.match(entry[1])] == []
