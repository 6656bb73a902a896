"""`routing.filters`: regular expressions and what they look at."""

from __future__ import annotations

import re
from typing import Any

import pytest

from routing import RoutingError
from routing.filters import as_text, compile_filters


def error_of(**filters: Any) -> str:
    with pytest.raises(RoutingError) as caught:
        compile_filters(filters, "here")
    return str(caught.value)


def test_each_filter_keeps_its_key_and_the_names_of_its_groups_in_order() -> None:
    path, method = compile_filters({"path": r"^/(?P<house>\w+)/(\d+)/(?P<room>\w+)", "method": "GET"}, "here")
    assert (path.key, path.groups) == ("path", ("house", "room"))
    assert (method.key, method.groups) == ("method", ())
    assert path.match("/main/3/hall") is not None


@pytest.mark.parametrize("given", ["^/é", "^/é".encode(), re.compile("^/é"), re.compile("^/é".encode())])
def test_text_bytes_and_compiled_expressions_all_match_text(given: Any) -> None:
    [compiled] = compile_filters({"path": given}, "here")
    assert compiled.match("/é") is not None
    assert compiled.match("/e") is None


def test_flags_of_a_compiled_expression_are_kept() -> None:
    [compiled] = compile_filters({"path": re.compile(b"^/X", re.IGNORECASE)}, "here")
    assert compiled.match("/x") is not None


@pytest.mark.parametrize("pattern", [r"^\w$", re.compile(r"^\w$", re.ASCII)])
def test_only_one_asked_for_ascii_is_limited_to_it(pattern: Any) -> None:
    [compiled] = compile_filters({"path": pattern}, "here")
    assert (compiled.match("é") is None) is isinstance(pattern, re.Pattern)


def test_one_that_is_no_regular_expression_is_named() -> None:
    text = error_of(path="(?P<room")
    assert text.startswith("here: the filter path='(?P<room' is not a regular expression: ")


@pytest.mark.parametrize("given", [re.compile(b"x", re.LOCALE), "(?L)x", "x{99999999999999999999}"])
def test_so_is_one_that_cannot_work_on_text(given: Any) -> None:
    assert "is not a regular expression: " in error_of(path=given)


@pytest.mark.parametrize(("given", "kind"), [(0, "int"), (None, "NoneType"), (["/"], "list")])
def test_one_of_another_type_is_named(given: Any, kind: str) -> None:
    assert error_of(order=given) == f"here: the filter order is a regular expression as text, not {kind}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (b"caf\xc3\xa9", "café"),
        (bytearray(b"x"), "x"),
        (b"\xff", "\ufffd"),
        (7, "7"),
        (True, "True"),
        ("", ""),
        (None, None),
    ],
)
def test_a_filter_looks_at_the_text_of_a_value(value: Any, text: str | None) -> None:
    assert as_text(value) == text
