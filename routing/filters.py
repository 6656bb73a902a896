"""Filters: regular expressions on the values of a message's keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from .exceptions import RoutingError


class Filter(NamedTuple):
    """One compiled filter."""

    key: str
    match: Callable[[str], re.Match[str] | None]
    groups: tuple[str, ...]
    pattern: str


def compile_filters(filters: Mapping[str, object], where: str) -> tuple[Filter, ...]:
    """Compile a route's filters.

    Raises:
        RoutingError: one is not a regular expression.
    """
    compiled = []
    for key, given in filters.items():
        pattern = given.pattern if isinstance(given, re.Pattern) else given
        flags = given.flags & ~re.UNICODE if isinstance(given, re.Pattern) else 0
        if isinstance(pattern, bytes):
            pattern = pattern.decode("utf-8", "replace")
        if not isinstance(pattern, str):
            raise RoutingError(where, f"the filter {key} is a regular expression as text, not {type(given).__name__}")
        try:
            expression = re.compile(pattern, flags)
        except (re.error, ValueError, OverflowError) as error:  # a flag that text cannot have, a repetition without end
            raise RoutingError(where, f"the filter {key}={pattern!r} is not a regular expression: {error}") from error
        compiled.append(Filter(key, expression.match, tuple(expression.groupindex), pattern))
    return tuple(compiled)


def as_text(value: object) -> str | None:
    """The text that a filter is matched against; ``None`` if there is none.

    Bytes are read as UTF-8; what is not becomes U+FFFD, so that hostile bytes match no more than text.
    """
    if type(value) is str:
        return value
    if value is None:
        return None
    return value.decode("utf-8", "replace") if isinstance(value, (bytes, bytearray)) else str(value)
