"""Texts for logs without what a configuration holds in confidence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from urllib.parse import unquote

HIDDEN = "***"

_SHORTEST = 3
"""Pieces below this length are everywhere by chance, and say nothing."""

_WORD = re.compile(r"\w+")


def redact(text: object, configuration: object) -> str:
    """A text, often an exception's, without any value of the configuration that it is about.

    What is a secret in a value cannot be known once the value is broken: nobody can tell where the password in
    ``redis://:pa#ss@host`` ends. So no piece of any value is shown. The names of options are.

    >>> redact("cannot use redis://:hunter2@host/0 with prot=1", {"address": "redis://:hunter2@host/0", "prot": 1})
    'cannot use *** with prot=1'
    """
    shown = str(text)
    pieces = {piece for value in _values(configuration) for form in (value, unquote(value)) for piece in _pieces(form)}
    for piece in sorted(pieces, key=len, reverse=True):
        shown = shown.replace(piece, HIDDEN)
    return re.sub(r"\*{3}(?:[^\w\s]*\*{3})+", HIDDEN, shown)


def _pieces(value: str) -> list[str]:
    return [piece for piece in (value, *_WORD.findall(value)) if len(piece) >= _SHORTEST]


def _values(configuration: object) -> Iterator[str]:
    """Every text in a configuration but the names of options."""
    if isinstance(configuration, bytes):
        yield configuration.decode("latin-1")
    elif isinstance(configuration, (str, int, float)):
        yield str(configuration)
    elif isinstance(configuration, Mapping):
        for value in configuration.values():
            yield from _values(value)
    elif isinstance(configuration, (Sequence, Set)):
        for value in configuration:
            yield from _values(value)
